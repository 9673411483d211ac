// Makes the packages for npm out of the packed binaries of a release, for deploy/release:
//
//   node deploy/npm/make.mjs VERSION FOLDER REPOSITORY
//
// One package for each target, with the binary, and `mcp-weir`, whose `bin` starts the one that fits
// (esbuild and Biome are installed the same way). REPOSITORY may be empty.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const project = resolve(here, "../..");
const [version, folder, repository] = process.argv.slice(2);
const out = resolve(folder);

// As Node and npm call what Rust calls a target.
const MACHINES = {
  "x86_64-unknown-linux-gnu": { os: "linux", cpu: "x64", libc: "glibc" },
  "aarch64-unknown-linux-gnu": { os: "linux", cpu: "arm64", libc: "glibc" },
  "x86_64-apple-darwin": { os: "darwin", cpu: "x64" },
  "aarch64-apple-darwin": { os: "darwin", cpu: "arm64" },
};

const shared = (name, description) => ({
  name,
  version,
  description,
  license: "Apache-2.0",
  ...(repository ? { repository: { type: "git", url: `git+${repository}.git` }, homepage: repository } : {}),
});

/** Packs a folder under the name of a file of the release. */
const pack = (folder, name, description) => {
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(description, null, 2)}\n`);
  cpSync(join(project, "LICENSE"), join(folder, "LICENSE"));
  const packed = join(folder, "packed");
  mkdirSync(packed);
  execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", packed], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  const file = join(out, `weir-v${version}-${name}.tgz`);
  cpSync(join(packed, readdirSync(packed)[0]), file);
  console.log(file);
};

const work = mkdtempSync(join(tmpdir(), "weir-npm-"));
try {
  const optionalDependencies = {};
  for (const [target, { os, cpu, libc }] of Object.entries(MACHINES)) {
    const name = `weir-v${version}-${target}`;
    if (!readdirSync(out).includes(`${name}.tar.gz`)) continue;
    const machine = `${os}-${cpu}`;
    const folder = join(work, machine);
    mkdirSync(join(folder, "bin"), { recursive: true });
    execFileSync("tar", ["-xzf", join(out, `${name}.tar.gz`), "-C", folder]);
    renameSync(join(folder, name, "weir"), join(folder, "bin", "weir"));
    chmodSync(join(folder, "bin", "weir"), 0o755);
    rmSync(join(folder, name), { recursive: true });
    pack(folder, `npm-${machine}`, {
      ...shared(`@mcp-weir/${machine}`, `The weir binary of mcp-weir for ${machine}`),
      os: [os],
      cpu: [cpu],
      ...(libc ? { libc: [libc] } : {}),
      files: ["bin"],
      preferUnplugged: true,
    });
    optionalDependencies[`@mcp-weir/${machine}`] = version;
  }
  if (Object.keys(optionalDependencies).length === 0) throw new Error(`there is no packed binary in ${out}`);
  const folder = join(work, "mcp-weir");
  mkdirSync(folder);
  cpSync(join(here, "bin"), join(folder, "bin"), { recursive: true });
  cpSync(join(here, "README.md"), join(folder, "README.md"));
  pack(folder, "npm", {
    ...shared("mcp-weir", "An MCP proxy that joins many upstream MCP servers into one tool catalog"),
    keywords: ["mcp", "proxy", "gateway", "agents"],
    bin: { weir: "bin/weir.js", "mcp-weir": "bin/weir.js" },
    files: ["bin"],
    engines: { node: ">=18" },
    optionalDependencies,
  });
} finally {
  rmSync(work, { recursive: true, force: true });
}

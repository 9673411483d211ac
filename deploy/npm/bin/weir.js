#!/usr/bin/env node
// Starts the weir that npm has installed for this machine: the one package of `optionalDependencies`
// whose system and processor fit. Nothing is downloaded here, and no script runs at the installation.
"use strict";

const { spawn } = require("node:child_process");

const machine = `${process.platform}-${process.arch}`;
const wanted = `@mcp-weir/${machine}`;

const fail = (words) => {
  process.stderr.write(`mcp-weir: ${words}\n`);
  process.exit(1);
};

const find = () => {
  try {
    return require.resolve(`${wanted}/bin/weir`);
  } catch {
    const known = Object.keys(require("../package.json").optionalDependencies ?? {});
    return known.includes(wanted)
      ? fail(`${wanted} is not installed: install without --omit=optional; on Linux it needs glibc`)
      : fail(`there is no weir for ${machine}, only ${known.join(", ") || "for no machine"}; cargo install mcp-weir`);
  }
};

const weir = spawn(find(), process.argv.slice(2), { stdio: "inherit" });
weir.on("error", (error) => fail(error.message));
// A terminal sends SIGINT to weir too: twice would end calls under way.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => weir.kill(signal));
weir.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});

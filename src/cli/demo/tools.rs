//! The data of the demo's upstreams, from which [`super::upstream`] makes servers.

use rmcp::model::JsonObject;
use serde_json::Value;

/// The data of one upstream.
#[derive(Debug)]
pub(super) struct DemoProfile {
    /// Its key in the config, and the name it gives itself.
    pub name: &'static str,
    pub title: &'static str,
    pub instructions: &'static str,
    /// Whether it speaks 2025-11-25 and older versions only.
    pub is_legacy: bool,
    /// The sizes of the pages of its tool list, repeated as needed; empty: one page.
    pub pages: &'static [usize],
    pub tools: &'static [DemoTool],
    pub prompts: &'static [DemoPrompt],
    pub resources: &'static [DemoResource],
}

/// One tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoTool {
    pub name: &'static str,
    pub description: &'static str,
    pub arguments: &'static [DemoArgument],
    pub read_only: bool,
    /// The progress messages before its answer.
    pub steps: &'static [&'static str],
    /// The question that it asks first, if its client can be asked.
    pub question: Option<DemoQuestion>,
    /// The text of the result, or of the tool's error.
    pub answer: fn(&JsonObject) -> Result<String, String>,
}

/// A question to the client of a tool. The answer becomes another argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoQuestion {
    /// The argument, and the only field of the form.
    pub field: &'static str,
    pub message: &'static str,
}

/// One required argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoArgument {
    pub name: &'static str,
    /// Its JSON Schema type.
    pub kind: &'static str,
    pub description: &'static str,
}

/// One prompt with one argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoPrompt {
    pub name: &'static str,
    pub description: &'static str,
    pub argument: DemoArgument,
    pub text: fn(&JsonObject) -> Result<String, String>,
}

/// One text resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoResource {
    pub uri: &'static str,
    pub name: &'static str,
    pub description: &'static str,
    pub text: &'static str,
}

const fn reads(
    name: &'static str,
    description: &'static str,
    arguments: &'static [DemoArgument],
    answer: fn(&JsonObject) -> Result<String, String>,
) -> DemoTool {
    DemoTool {
        name,
        description,
        arguments,
        read_only: true,
        steps: &[],
        question: None,
        answer,
    }
}

const fn text(name: &'static str, description: &'static str) -> DemoArgument {
    DemoArgument {
        name,
        kind: "string",
        description,
    }
}

/// An AgentCore Gateway, whose tool names begin with those of its targets.
pub(super) static OFFICE: DemoProfile = DemoProfile {
    name: "office",
    title: "Office services",
    instructions: "Colleagues and rooms, each from a target of the gateway.",
    is_legacy: false,
    pages: &[1, 2],
    tools: &[
        reads(
            "directory___find_colleague",
            "Find colleagues by name or team",
            &[text("query", "part of a name or of a team")],
            |arguments| matching(COLLEAGUES, string(arguments, "query")?, "colleague"),
        ),
        reads(
            "rooms___free_rooms",
            "List rooms that are free now",
            &[text("floor", "the floor's number")],
            |arguments| {
                let floor = string(arguments, "floor")?;
                Ok(format!(
                    "{floor}.04 · 6 seats\n{floor}.11 · 12 seats, screen"
                ))
            },
        ),
        DemoTool {
            read_only: false,
            ..reads(
                "rooms___book_room",
                "Book a room for the next hour",
                &[text("room", "the room's number")],
                |arguments| {
                    Ok(format!(
                        "{} is yours for an hour",
                        string(arguments, "room")?
                    ))
                },
            )
        },
    ],
    prompts: &[],
    resources: &[],
};

const COLLEAGUES: &[&str] = &[
    "Mary Somerville · accounts · ext. 1780",
    "Katherine Johnson · accounts · ext. 1962",
    "Margaret Hamilton · night shift · ext. 1969",
];

/// A SaaS CRM.
pub(super) static CRM: DemoProfile = DemoProfile {
    name: "crm",
    title: "Contoso CRM",
    instructions: "Contacts, accounts and deals of the sales team.",
    is_legacy: true,
    pages: &[],
    tools: &[
        reads(
            "find_contact",
            "Find contacts by name, company or e-mail",
            &[text("query", "part of a name, a company or an address")],
            |arguments| matching(CONTACTS, string(arguments, "query")?, "contact"),
        ),
        reads(
            "get_account",
            "Show an account: owner, plan, renewal date",
            &[text("company", "the company's name")],
            |arguments| matching(ACCOUNTS, string(arguments, "company")?, "account"),
        ),
        reads(
            "list_deals",
            "List open deals of one stage",
            &[text("stage", "qualified, proposal or closing")],
            |arguments| matching(DEALS, string(arguments, "stage")?, "deal"),
        ),
        DemoTool {
            read_only: false,
            question: Some(DemoQuestion {
                field: "deal",
                message: "Which deal was it about?",
            }),
            ..reads(
                "log_activity",
                "Log a call, a meeting or a mail",
                &[
                    text("contact", "the contact's e-mail address"),
                    text("note", "what was said"),
                ],
                |arguments| {
                    let contact = string(arguments, "contact")?;
                    let note = string(arguments, "note")?;
                    let deal = arguments.get("deal").and_then(Value::as_str);
                    let deal = deal.map_or(String::new(), |deal| format!(", {deal}"));
                    Ok(format!("logged on {contact}{deal}: {note}"))
                },
            )
        },
    ],
    prompts: &[DemoPrompt {
        name: "draft_follow_up",
        description: "Draft a follow-up mail after a call with a contact",
        argument: text("contact", "the contact's name"),
        text: |arguments| {
            let contact = string(arguments, "contact")?;
            Ok(format!(
                "Features {contact} up in the CRM and draft a short, friendly follow-up mail."
            ))
        },
    }],
    resources: &[],
};

const CONTACTS: &[&str] = &[
    "Ada Lovelace · Analytical Engines · ada@analytical.example · +44 20 7946 0815",
    "Charles Babbage · Analytical Engines · charles@analytical.example · +44 20 7946 0101",
    "Grace Hopper · Nanosecond Wire · grace@nanosecond.example · +1 202 555 0142",
];
const ACCOUNTS: &[&str] = &[
    "Analytical Engines · owner M. Somerville · plan Enterprise · renews 2027-03-31",
    "Nanosecond Wire · owner K. Johnson · plan Team · renews 2027-01-15",
];
const DEALS: &[&str] = &[
    "closing · Analytical Engines · 40 bearings a month · EUR 118,000",
    "proposal · Nanosecond Wire · copper wire, 30 cm lengths · USD 42,500",
];

/// A warehouse system on AgentCore Runtime, whose list comes in uneven pages.
pub(super) static WAREHOUSE: DemoProfile = DemoProfile {
    name: "warehouse",
    title: "Warehouse",
    instructions: "Stock, bins, shipments and orders of every site.",
    is_legacy: false,
    pages: &[3, 1, 4],
    tools: &[
        reads("list_sites", "List warehouse sites", &[], |_| {
            Ok(SITES.join("\n"))
        }),
        reads(
            "find_item",
            "Find items by SKU or description",
            &[text("query", "part of a SKU or of a description")],
            |arguments| matching(ITEMS, string(arguments, "query")?, "item"),
        ),
        reads(
            "stock_level",
            "Show stock: on hand, reserved, free",
            &[text("sku", "the item")],
            |arguments| {
                Ok(format!(
                    "{}: 312 on hand, 48 reserved, 264 free",
                    string(arguments, "sku")?
                ))
            },
        ),
        DemoTool {
            steps: &[
                "aisle A: 1,204 bins",
                "aisle B: 988 bins",
                "aisle C: 1,410 bins",
                "cold store: 96 bins",
                "adding up",
            ],
            ..reads(
                "stock_report",
                "Count a whole site, with progress",
                &[text("site", "the site's name")],
                |arguments| {
                    let site = string(arguments, "site")?;
                    Ok(format!(
                        "{site}: 3,698 bins, 41,230 items\n7 bins below their minimum, 2 to recount"
                    ))
                },
            )
        },
        reads(
            "bin_location",
            "Show aisle, rack and bin of an item",
            &[text("sku", "the item")],
            |arguments| {
                Ok(format!(
                    "{}: rotterdam, aisle C, rack 12, bin 04",
                    string(arguments, "sku")?
                ))
            },
        ),
        reads(
            "inbound",
            "List shipments due at a site",
            &[text("site", "the site's name")],
            |arguments| {
                Ok(format!(
                    "{}: IN-2207 due tomorrow, 18 pallets",
                    string(arguments, "site")?
                ))
            },
        ),
        reads(
            "outbound",
            "List orders to pick today",
            &[text("site", "the site's name")],
            |arguments| {
                Ok(format!(
                    "{}: SO-1815, SO-1843, SO-1906",
                    string(arguments, "site")?
                ))
            },
        ),
        DemoTool {
            read_only: false,
            ..reads(
                "recount_bin",
                "Have the night shift count a bin again",
                &[text("bin", "aisle, rack and bin, such as C-12-04")],
                |arguments| {
                    Ok(format!(
                        "{} is on tonight's list",
                        string(arguments, "bin")?
                    ))
                },
            )
        },
    ],
    prompts: &[],
    resources: &[],
};

/// The tool the warehouse gains while it runs.
pub(super) const RESERVE_STOCK: DemoTool = DemoTool {
    read_only: false,
    ..reads(
        "reserve_stock",
        "Reserve items for an order until it is picked",
        &[
            text("sku", "the item"),
            DemoArgument {
                name: "quantity",
                kind: "integer",
                description: "how many",
            },
            text("order", "the order's number"),
        ],
        |arguments| {
            let quantity = arguments.get("quantity").and_then(Value::as_u64);
            let quantity = quantity.ok_or("`quantity` must be a whole number")?;
            let sku = string(arguments, "sku")?;
            let order = string(arguments, "order")?;
            Ok(format!(
                "{quantity} × {sku} reserved for {order} until 18:00"
            ))
        },
    )
};

const SITES: &[&str] = &["rotterdam", "leeds", "gdansk"];
const ITEMS: &[&str] = &[
    "BRG-6204 · ball bearing 20 × 47 × 14 mm",
    "BRG-6205 · ball bearing 25 × 52 × 15 mm",
    "WIR-0030 · copper wire, 30 cm",
];

/// A folder of notes, served by a child process.
pub(super) static NOTES: DemoProfile = DemoProfile {
    name: "notes",
    title: "Team notes",
    instructions: "The team's notes, as plain text.",
    is_legacy: false,
    pages: &[],
    tools: &[
        reads("list_notes", "List notes, newest first", &[], |_| {
            Ok(PAGES
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join("\n"))
        }),
        reads(
            "read_note",
            "Read one note",
            &[text("name", "the note's name")],
            |arguments| note(string(arguments, "name")?).map(str::to_owned),
        ),
        reads(
            "search_notes",
            "Search all notes for a word",
            &[text("word", "what to look for, in any case")],
            |arguments| {
                let lines: Vec<&str> = PAGES.iter().flat_map(|(_, text)| text.lines()).collect();
                matching(&lines, string(arguments, "word")?, "line")
            },
        ),
        reads(
            "count_words",
            "Count the words of a note",
            &[text("name", "the note's name")],
            |arguments| {
                let text = note(string(arguments, "name")?)?;
                Ok(text.split_whitespace().count().to_string())
            },
        ),
    ],
    prompts: &[],
    resources: &[DemoResource {
        uri: "note://handover",
        name: "handover",
        description: "What the next shift has to know",
        text: HANDOVER,
    }],
};

const HANDOVER: &str = "Dock 3 is closed until Thursday.\nAnalytical Engines wants 40 bearings: reserve them for SO-1815.";
const PAGES: &[(&str, &str)] = &[
    ("handover", HANDOVER),
    ("standup", "Mondays at 9:15, bring the recount list."),
];

fn note(name: &str) -> Result<&'static str, String> {
    let found = PAGES.iter().find(|(candidate, _)| *candidate == name);
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| format!("there is no note `{name}`"))
}

/// The lines with `query` in them, in any case.
fn matching(lines: &[&str], query: &str, what: &str) -> Result<String, String> {
    let query = query.to_lowercase();
    let found: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.to_lowercase().contains(&query))
        .collect();
    if found.is_empty() {
        Err(format!("no {what} matches `{query}`"))
    } else {
        Ok(found.join("\n"))
    }
}

fn string<'a>(arguments: &'a JsonObject, name: &str) -> Result<&'a str, String> {
    let value = arguments.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("`{name}` must be a string"))
}

//! Extensions that upstreams announce. Weir announces those whose messages it routes.

use super::{V, over};
use crate::support::asking::Asking;

const APPS: &str = "io.modelcontextprotocol/ui";
const TASKS: &str = "io.modelcontextprotocol/tasks";

#[tokio::test]
async fn extensions_are_announced_where_weir_routes_their_messages() {
    let all = format!(
        r#"{{"tools":{{}},"extensions":{{"io.modelcontextprotocol/skills":{{}},"{TASKS}":{{"a":1}},"com.example/x":{{}},"{APPS}":{{"b":12345678901234567890123}}}}}}"#
    );
    for modern in [true, false] {
        let up = Asking::named("up").tools(["ask"]).capabilities(&all);
        let up = if modern { up.modern() } else { up };
        let up = up.start().await;
        let weir = over([&up]).await;
        let reply = weir.modern().request("server/discover", "{}").await;
        let tasks = if modern {
            format!(r#","{TASKS}":{{"a":1}}"#)
        } else {
            String::new()
        };
        let discovered =
            format!(r#""extensions":{{"{APPS}":{{"b":12345678901234567890123}}{tasks}}}"#);
        assert!(reply.result().contains(&discovered), "{reply:?}");
        let params = format!(
            r#"{{"protocolVersion":"{V}","capabilities":{{}},"clientInfo":{{"name":"c","version":"1"}}}}"#
        );
        let legacy = weir.legacy(V).await;
        let ask = legacy.ask("initialize", &params).without("mcp-session-id");
        let reply = ask.without("mcp-protocol-version").send().await;
        let welcome = format!(r#""extensions":{{"{APPS}":{{"b":12345678901234567890123}}}}"#);
        assert!(reply.result().contains(&welcome), "{reply:?}");
        assert!(!reply.result().contains("skills"), "{reply:?}");
    }
}

//! Modern callers that listen for what a legacy upstream tells in its session.

use serde_json::json;

use crate::support::asking::Asking;
use crate::support::weir::Weir;

const URI: &str = "file:///a";
const LISTENERS: usize = 20;

#[tokio::test]
async fn listeners_share_one_subscription_which_ends_with_the_last_of_them() {
    let up = Asking::named("up").tools(["ask"]).resources([URI]);
    let up = up.start().await;
    let weir = Weir::with(&up.yaml()).start().await;
    let caller = weir.modern();
    let wishes = json!({"toolsListChanged": true, "resourceSubscriptions": [URI]});
    let mut streams = Vec::new();
    for number in 0..LISTENERS {
        let id = number.to_string();
        let mut stream = caller.listen(&id, &wishes.to_string()).await;
        let acknowledged = stream.next_value().await;
        assert_eq!(acknowledged["params"]["notifications"], wishes);
        streams.push(stream);
    }
    let subscribed = up.requests("resources/subscribe");
    let [subscribed] = subscribed.try_into().expect("one subscription for all");
    let session = subscribed.header("mcp-session-id").unwrap().to_owned();
    let updated = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}});
    up.tell(&session, &updated.to_string()).await;
    for (number, stream) in streams.iter_mut().enumerate() {
        let told = stream.next_value().await;
        assert_eq!(told["method"], "notifications/resources/updated");
        assert_eq!(told["params"]["uri"], URI);
        let key = "io.modelcontextprotocol/subscriptionId";
        assert_eq!(told["params"]["_meta"][key], number);
    }
    // Nothing comes twice: the next message is another one.
    up.set_tools(&[r#"{"name":"new","inputSchema":{"type":"object"}}"#]);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    up.tell(&session, changed).await;
    for stream in &mut streams {
        let told = stream.next_value().await;
        assert_eq!(told["method"], "notifications/tools/list_changed");
    }
    assert_eq!(caller.tool_names().await, ["up__new"]);
    let mut last = streams.pop().unwrap();
    drop(streams);
    up.tell(&session, &updated.to_string()).await;
    assert_eq!(last.next_value().await["params"]["uri"], URI);
    assert_eq!(up.count("resources/unsubscribe"), 0, "one still listens");
    drop(last);
    let ended = up.wait_count("resources/unsubscribe", 1).await;
    assert_eq!(ended.value["params"]["uri"], URI);
    let counts = ["resources/subscribe", "resources/unsubscribe"].map(|method| up.count(method));
    assert_eq!(counts, [1, 1]);
}

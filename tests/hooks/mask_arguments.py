"""Removes an argument from requests, and replaces e-mail addresses in the text of results."""

import re

EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def lambda_handler(event, context):
    mcp = event["mcp"]
    if mcp.get("gatewayResponse"):
        body = mcp["gatewayResponse"]["body"]
        for block in body.get("result", {}).get("content", []):
            if block.get("type") == "text":
                block["text"] = EMAIL.sub("[email]", block["text"])
        return {
            "interceptorOutputVersion": "1.0",
            "mcp": {"transformedGatewayResponse": {"statusCode": 200, "body": body}},
        }
    body = mcp["gatewayRequest"]["body"]
    if body.get("method") == "tools/call":
        body["params"].get("arguments", {}).pop("password", None)
    return {
        "interceptorOutputVersion": "1.0",
        "mcp": {"transformedGatewayRequest": {"body": body}},
        "weir": {"audit": {"rule": "mask-1"}},
    }

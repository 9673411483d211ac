"""Refuses tools that are not on a list, with an error of its own."""

ALLOWED = {"erp__search", "erp__get"}


def lambda_handler(event, context):
    mcp_data = event["mcp"]
    if mcp_data.get("gatewayResponse") is not None:
        response = mcp_data["gatewayResponse"]
        transformed = {"statusCode": response["statusCode"], "body": response["body"]}
        return {"interceptorOutputVersion": "1.0", "mcp": {"transformedGatewayResponse": transformed}}
    body = mcp_data["gatewayRequest"]["body"]
    name = body.get("params", {}).get("name")
    if body.get("method") == "tools/call" and name not in ALLOWED:
        error = {"code": -32000, "message": f"{name} is not on the list"}
        return {
            "interceptorOutputVersion": "1.0",
            "mcp": {
                "transformedGatewayResponse": {
                    "statusCode": 403,
                    "body": {"jsonrpc": "2.0", "id": body["id"], "error": error},
                }
            },
        }
    return {"interceptorOutputVersion": "1.0", "mcp": {"transformedGatewayRequest": {"body": body}}}

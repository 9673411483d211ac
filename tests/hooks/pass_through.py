"""Returns everything as it came."""


def lambda_handler(event, context):
    mcp_data = event.get("mcp", {})
    if "gatewayResponse" in mcp_data and mcp_data["gatewayResponse"] is not None:
        gateway_response = mcp_data["gatewayResponse"]
        return {
            "interceptorOutputVersion": "1.0",
            "mcp": {
                "transformedGatewayResponse": {
                    "statusCode": gateway_response["statusCode"],
                    "body": gateway_response["body"],
                }
            },
        }
    gateway_request = mcp_data.get("gatewayRequest", {})
    return {
        "interceptorOutputVersion": "1.0",
        "mcp": {"transformedGatewayRequest": {"body": gateway_request["body"]}},
    }

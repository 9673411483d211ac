# weir on Amazon Bedrock AgentCore Runtime: the role and the runtime. The image, with weir's config in it at
# /etc/weir/weir.yaml, is in ECR already. `weir policy-document -c FILE` prints what a config needs: policy_json
# takes it as it is.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.18"
    }
  }
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  here = "${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}"
  logs = "arn:${data.aws_partition.this.partition}:logs:${local.here}:log-group"
  runs = "${local.logs}:/aws/bedrock-agentcore/runtimes/*"

  # What the config uses: statements without resources are left out.
  used = {
    InvokeGateways = { actions = ["bedrock-agentcore:InvokeGateway"], resources = var.gateway_arns }
    InvokeRuntimes = {
      actions   = ["bedrock-agentcore:InvokeAgentRuntime"]
      resources = flatten([for arn in var.runtime_arns : [arn, "${arn}/runtime-endpoint/*"]])
    }
    Secrets     = { actions = ["secretsmanager:GetSecretValue"], resources = var.secret_arns }
    AssumeRoles = { actions = ["sts:AssumeRole"], resources = var.assume_role_arns }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["bedrock-agentcore.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.this.partition}:bedrock-agentcore:${local.here}:*"]
    }
  }
}

data "aws_iam_policy_document" "weir" {
  source_policy_documents = compact([var.policy_json])

  statement {
    sid       = "LogGroup"
    actions   = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    resources = [local.runs]
  }
  statement {
    sid       = "LogGroups"
    actions   = ["logs:DescribeLogGroups"]
    resources = ["${local.logs}:*"]
  }
  statement {
    sid       = "LogStream"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.runs}:log-stream:*"]
  }
  statement {
    sid       = "Traces"
    actions   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    resources = ["*"]
  }
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["bedrock-agentcore"]
    }
  }
  statement {
    sid       = "ImageToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Image"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [var.image_repository_arn]
  }
  dynamic "statement" {
    for_each = { for sid, right in local.used : sid => right if length(right.resources) > 0 }
    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

resource "aws_iam_role" "this" {
  name_prefix        = "weir-"
  description        = "weir on AgentCore Runtime, as ${var.agent_name}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = "weir"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.weir.json
}

resource "aws_bedrockagentcore_agent_runtime" "this" {
  agent_runtime_name    = var.agent_name
  description           = "weir, made by Terraform"
  role_arn              = aws_iam_role.this.arn
  environment_variables = merge({ WEIR_LOG_FORMAT = "json", AWS_REGION = data.aws_region.this.region }, var.environment)
  tags                  = var.tags

  agent_runtime_artifact {
    container_configuration {
      container_uri = var.image_uri
    }
  }

  network_configuration {
    network_mode = var.vpc == null ? "PUBLIC" : "VPC"
    dynamic "network_mode_config" {
      for_each = var.vpc == null ? [] : [var.vpc]
      content {
        subnets         = network_mode_config.value.subnets
        security_groups = network_mode_config.value.security_groups
      }
    }
  }

  # Without it the platform speaks plain HTTP to port 8080, and every call of MCP times out.
  protocol_configuration {
    server_protocol = "MCP"
  }

  dynamic "request_header_configuration" {
    for_each = length(var.request_headers) > 0 ? [var.request_headers] : []
    content {
      request_header_allowlist = request_header_configuration.value
    }
  }

  dynamic "authorizer_configuration" {
    for_each = var.issuer == null ? [] : [var.issuer]
    content {
      custom_jwt_authorizer {
        discovery_url    = authorizer_configuration.value.discovery_url
        allowed_audience = authorizer_configuration.value.allowed_audience
        allowed_clients  = authorizer_configuration.value.allowed_clients
      }
    }
  }

  # The platform tries the role when the runtime is made.
  depends_on = [aws_iam_role_policy.this]
}

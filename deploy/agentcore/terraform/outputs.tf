output "runtime_arn" {
  description = "For runtime.arn of a weir in front, and for InvokeAgentRuntime."
  value       = aws_bedrockagentcore_agent_runtime.this.agent_runtime_arn
}

output "role_arn" {
  value = aws_iam_role.this.arn
}

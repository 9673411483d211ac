variable "agent_name" {
  description = "The name of the runtime: letters, digits and underscores. Another name is another runtime."
  type        = string
  default     = "weir"

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9_]{0,47}$", var.agent_name))
    error_message = "A letter, then at most 47 letters, digits and underscores: no hyphens."
  }
}

variable "image_uri" {
  description = "The image for linux/arm64 in ECR, by digest."
  type        = string
}

variable "image_repository_arn" {
  description = "The repository of the image."
  type        = string
}

variable "policy_json" {
  description = "What `weir policy-document -c FILE --account ID --region REGION` prints, in place of the lists of ARNs."
  type        = string
  default     = ""
}

variable "gateway_arns" {
  description = "Gateways that the config calls with SigV4."
  type        = list(string)
  default     = []
}

variable "runtime_arns" {
  description = "Runtimes that the config calls with SigV4."
  type        = list(string)
  default     = []
}

variable "secret_arns" {
  description = "Secrets of the config (aws_secret). Make them elsewhere: what Terraform makes is in its state, readable."
  type        = list(string)
  default     = []
}

variable "assume_role_arns" {
  description = "Roles that the config takes (assume_role)."
  type        = list(string)
  default     = []
}

variable "request_headers" {
  description = "Headers that listen.auth of the config reads; at most 20."
  type        = list(string)
  default     = []
}

variable "issuer" {
  description = "Callers have tokens of this issuer; without it they sign (SigV4). Tokens of Cognito name their client, not an audience."
  type = object({
    discovery_url    = string
    allowed_audience = optional(list(string))
    allowed_clients  = optional(list(string))
  })
  default = null
}

variable "vpc" {
  description = "The subnets and security groups of the runtime; without them it is on the public network."
  type = object({
    subnets         = list(string)
    security_groups = list(string)
  })
  default = null
}

variable "environment" {
  description = "More environment variables. No secrets: who may read the runtime reads them."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of the role and of the runtime."
  type        = map(string)
  default     = {}
}

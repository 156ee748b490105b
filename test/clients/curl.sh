#!/bin/sh
# curl, as in the documentation. One JSON line for each check: what it is, and whether it held.
set -u
auth="Authorization: Bearer $COLONNADE_API_KEY"
json="Content-Type: application/json"
chat="{\"model\":\"$COLONNADE_CHAT_MODEL\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hello.\"}],\"max_tokens\":16"
failed=0

printf '{"version":"%s"}\n' "$(curl --version | head -n 1 | cut -d ' ' -f 2)"

# check NAME PATTERN ARGUMENTS…: the output must match.
check() {
  name=$1 pattern=$2
  shift 2
  if curl --silent --show-error --no-buffer --max-time 120 "$@" | tr -d '\r' | grep -q -- "$pattern"; then
    printf '{"check":"%s","outcome":"passed","detail":""}\n' "$name"
  else
    failed=1
    printf '{"check":"%s","outcome":"failed","detail":"the output does not match %s"}\n' "$name" "$pattern"
  fi
}

check 'chat' '"finish_reason":"' "$COLONNADE_BASE_URL/chat/completions" -H "$auth" -H "$json" -d "$chat}"
check 'chat, streamed' '^data: \[DONE\]$' "$COLONNADE_BASE_URL/chat/completions" -H "$auth" -H "$json" -d "$chat,\"stream\":true}"
check 'embeddings' '"embedding":\[' "$COLONNADE_BASE_URL/embeddings" -H "$auth" -H "$json" \
  -d "{\"model\":\"$COLONNADE_EMBEDDING_MODEL\",\"input\":\"hello\",\"encoding_format\":\"float\"}"
check 'models' '"object":"list"' "$COLONNADE_BASE_URL/models" -H "$auth"
check 'an error says what to do' '"code":"invalid_api_key"' "$COLONNADE_BASE_URL/models" -H 'Authorization: Bearer wrong'
exit $failed

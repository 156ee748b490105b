/** Right bodies of every endpoint, each with fields of many kinds: what mutations start from. */
const tool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, $defs: {} },
    strict: true,
  },
}
const image =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export const corpus: Readonly<Record<string, readonly unknown[]>> = {
  '/v1/chat/completions': [
    { model: 'm', messages: [{ role: 'user', content: 'Hi' }] },
    {
      model: 'm',
      messages: [
        { role: 'developer', content: [{ type: 'text', text: 'Be kind.' }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: image, detail: 'low' } },
            { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } },
            { type: 'file', file: { file_data: 'data:text/plain;base64,SGk=', filename: 'a.txt' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
      ],
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      parallel_tool_calls: false,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'x', schema: { type: 'object' }, strict: true },
      },
      stream: true,
      stream_options: { include_usage: true },
      n: 2,
      stop: ['a', 'b'],
      logit_bias: { 5: 1 },
      logprobs: true,
      top_logprobs: 3,
      temperature: 0,
      max_completion_tokens: 5,
      metadata: { a: 'b' },
      reasoning_effort: 'low',
    },
    {
      model: 'm',
      messages: [{ role: 'user', content: [{ type: 'image', image }] }],
      functions: [tool.function],
      function_call: 'auto',
    },
  ],
  '/v1/completions': [
    { model: 'm', prompt: 'Once', max_tokens: 5, echo: true, logprobs: 2, suffix: 'x', best_of: 1 },
    { model: 'm', prompt: [[1, 2, 3], [4]], n: 2, stop: 'x', stream: true },
    { model: 'm', messages: [{ role: 'user', content: 'Hi' }] },
  ],
  '/v1/responses': [
    { model: 'm', input: 'Hi', instructions: 'Be kind.', max_output_tokens: 5, store: false },
    {
      model: 'm',
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'Hi' },
            { type: 'input_image', image_url: image },
          ],
        },
        { type: 'function_call', call_id: 'c', name: 'weather', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: 'sunny' },
        { type: 'reasoning', id: 'rs', summary: [], encrypted_content: 'x' },
      ],
      tools: [
        { type: 'function', name: 'weather', parameters: { type: 'object' }, strict: true },
        { type: 'custom', name: 'shell' },
      ],
      tool_choice: 'required',
      text: {
        format: { type: 'json_schema', name: 'x', schema: { type: 'object' } },
        verbosity: 'low',
      },
      reasoning: { effort: 'low', summary: 'auto' },
      include: ['reasoning.encrypted_content'],
      stream: true,
    },
  ],
  '/v1/messages': [
    { model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'Hi' }] },
    {
      model: 'm',
      max_tokens: 50,
      system: [{ type: 'text', text: 'Be kind.', cache_control: { type: 'ephemeral' } }],
      messages: [
        {
          role: 'user',
          content: [
            {
              type: 'image',
              source: { type: 'base64', media_type: 'image/png', data: image.slice(22) },
            },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', signature: 's' },
            { type: 'tool_use', id: 't', name: 'weather', input: {} },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'sunny' }] },
          ],
        },
      ],
      tools: [{ name: 'weather', input_schema: { type: 'object' } }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
      thinking: { type: 'enabled', budget_tokens: 1_024 },
      stop_sequences: ['x'],
      stream: true,
      metadata: { user_id: 'u' },
    },
  ],
  '/v1/embeddings': [
    { model: 'm', input: ['a', 'b'], encoding_format: 'base64', dimensions: 5 },
    { model: 'm', input: [[1, 2], [3]], user: 'u' },
  ],
  '/v1/rerank': [
    { model: 'm', query: 'q', documents: ['a', { text: 'b' }], top_n: 1, return_documents: true },
  ],
  '/v2/rerank': [
    { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 1, max_tokens_per_doc: 5 },
  ],
  '/rerank': [
    { query: 'q', texts: ['a', 'b'], raw_scores: true, return_text: true, truncate: true },
  ],
  '/v1/moderations': [
    { model: 'm', input: 'a' },
    {
      input: [
        { type: 'text', text: 'a' },
        { type: 'image_url', image_url: { url: image } },
      ],
    },
  ],
  '/v1/audio/speech': [
    {
      model: 'm',
      input: 'Hi',
      voice: 'alloy',
      response_format: 'wav',
      speed: 1.5,
      stream_format: 'sse',
      instructions: 'kindly',
    },
  ],
  '/v1/images/generations': [
    {
      model: 'm',
      prompt: 'a cat',
      n: 2,
      size: '512x512',
      response_format: 'b64_json',
      quality: 'high',
      output_format: 'webp',
      output_compression: 50,
    },
  ],
}

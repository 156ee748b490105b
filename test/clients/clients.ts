/** The one list of clients. Each is a program that prints its version, and a line for each of its checks. */
export interface Client {
  readonly name: string
  readonly language: 'Python' | 'Node' | 'Go' | 'shell'
  /** Below this folder; of Go, the folder. */
  readonly program: string
  /** What its own Python environment holds: clients need versions of each other's libraries that do not go together. */
  readonly packages?: readonly string[]
}

export const clients: readonly Client[] = [
  {
    name: 'OpenAI',
    language: 'Python',
    program: 'python/openai_sdk.py',
    packages: ['openai==3.54.0', 'pydantic'],
  },
  { name: 'OpenAI', language: 'Node', program: 'node/openai-sdk.mjs' },
  { name: 'OpenAI', language: 'Go', program: 'go' },
  {
    name: 'Anthropic',
    language: 'Python',
    program: 'python/anthropic_sdk.py',
    packages: ['anthropic==2.12.0'],
  },
  { name: 'Anthropic', language: 'Node', program: 'node/anthropic-sdk.mjs' },
  {
    name: 'Cohere',
    language: 'Python',
    program: 'python/cohere_sdk.py',
    packages: ['cohere==7.3.1'],
  },
  { name: 'Cohere', language: 'Node', program: 'node/cohere-sdk.mjs' },
  {
    name: 'LangChain',
    language: 'Python',
    program: 'python/langchain_client.py',
    packages: ['langchain-openai==1.7.3'],
  },
  { name: 'LangChain', language: 'Node', program: 'node/langchain.mjs' },
  {
    name: 'LlamaIndex',
    language: 'Python',
    program: 'python/llama_index_client.py',
    packages: ['llama-index-llms-openai-like==0.8.1', 'llama-index-embeddings-openai-like==0.4.0'],
  },
  {
    name: 'Haystack',
    language: 'Python',
    program: 'python/haystack_client.py',
    packages: ['haystack-ai==3.4.0'],
  },
  {
    name: 'Semantic Kernel',
    language: 'Python',
    program: 'python/semantic_kernel_client.py',
    packages: ['semantic-kernel==1.45.0'],
  },
  {
    name: 'AutoGen',
    language: 'Python',
    program: 'python/autogen_client.py',
    packages: ['autogen-ext[openai]==0.7.5', 'autogen-agentchat==0.7.5'],
  },
  {
    name: 'Pydantic AI',
    language: 'Python',
    program: 'python/pydantic_ai_client.py',
    packages: ['pydantic-ai-slim[openai,anthropic]==2.68.0'],
  },
  { name: 'Vercel AI SDK', language: 'Node', program: 'node/ai-sdk.mjs' },
  {
    name: 'LiteLLM as a client',
    language: 'Python',
    program: 'python/litellm_client.py',
    packages: ['litellm==1.106.2'],
  },
  {
    name: 'Jupyter',
    language: 'Python',
    program: 'python/notebook.py',
    packages: ['nbclient==0.11.0', 'ipykernel==7.4.0', 'openai==2.54.0'],
  },
  {
    name: 'Streamlit',
    language: 'Python',
    program: 'python/streamlit_app.py',
    packages: ['streamlit==1.67.0', 'openai==2.54.0'],
  },
  {
    name: 'Gradio',
    language: 'Python',
    program: 'python/gradio_chat.py',
    packages: ['gradio==6.31.0', 'openai==2.54.0'],
  },
  {
    name: 'FastAPI',
    language: 'Python',
    program: 'python/fastapi_service.py',
    packages: ['fastapi==0.165.0', 'httpx==0.28.1', 'openai==2.54.0'],
  },
  { name: 'curl', language: 'shell', program: 'curl.sh' },
]

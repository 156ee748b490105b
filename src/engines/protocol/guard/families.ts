/** The families of guard models: what they are asked, and which of OpenAI's categories theirs are. */
import { readSafeOrUnsafe, readSafetyLine, readYesOrNo, type Verdict } from './verdict.ts'

/** A chat request's body about one text. */
export type Question = (text: string) => Readonly<Record<string, unknown>>

export interface Guard {
  readonly question: Question
  readonly read: (answer: string) => Verdict
  /** Asked one by one about what is unsafe, by a guard that judges one risk at a time: which of them is it? */
  readonly risks?: readonly { readonly question: Question; readonly category: string }[]
}

export function guardOf(engineModel: string): Guard | undefined {
  return families.find(({ name }) => name.test(engineModel))?.guard
}

const verdictTokensMax = 128
const wordTokensMax = 20

/** The template of the model holds the policy; the text is all that it needs. */
function ask(text: string, max_tokens: number): Readonly<Record<string, unknown>> {
  return { messages: [{ role: 'user', content: text }], temperature: 0, max_tokens }
}

/**
 * Llama Guard 3 and 4: the hazards of the MLCommons taxonomy (github.com/meta-llama/PurpleLlama, MODEL_CARD.md of both). Defamation, advice, privacy,
 * intellectual property and elections (S5 to S8, S13) have no counterpart at OpenAI: they flag without a category.
 */
const llamaHazards: Readonly<Record<string, readonly string[]>> = {
  S1: ['violence', 'illicit/violent'],
  S2: ['illicit'],
  S3: ['sexual', 'illicit'],
  S4: ['sexual/minors'],
  S9: ['illicit/violent'],
  S10: ['hate'],
  S11: ['self-harm'],
  S12: ['sexual'],
  S14: ['illicit'],
}

const llamaGuard: Guard = {
  question: (text) => ask(text, verdictTokensMax),
  read: (answer) => readSafeOrUnsafe(answer, llamaHazards),
}

/** Qwen3Guard-Gen (huggingface.co/Qwen/Qwen3Guard-Gen-8B, "Safety Policy"). Politics, personal data, copyright and jailbreaks have no counterpart. */
const qwenCategories: Readonly<Record<string, readonly string[]>> = {
  Violent: ['violence', 'illicit/violent'],
  'Non-violent Illegal Acts': ['illicit'],
  'Sexual Content or Sexual Acts': ['sexual'],
  'Suicide & Self-Harm': ['self-harm'],
  'Unethical Acts': ['harassment', 'hate'],
}

const qwenGuard: Guard = {
  question: (text) => ask(text, verdictTokensMax),
  read: (answer) => readSafetyLine(answer, qwenCategories),
}

/**
 * Granite Guardian (github.com/ibm-granite/granite-guardian; ollama.com/library/granite3-guardian). It judges one risk at a time, the general `harm` unless
 * told otherwise: by a system message in llama.cpp's and Ollama's templates, by `guardian_config` in the ones for vLLM.
 */
const graniteRisks: readonly (readonly [risk: string, category: string])[] = [
  ['violence', 'violence'],
  ['sexual_content', 'sexual'],
  ['social_bias', 'hate'],
  ['unethical_behavior', 'illicit'],
]

const graniteGuardian: Guard = {
  question: (text) => ask(text, wordTokensMax),
  read: fromYesOrNo,
  risks: graniteRisks.map(([risk, category]) => ({
    category,
    question: (text) => ({
      ...ask(text, wordTokensMax),
      messages: [
        { role: 'system', content: risk },
        { role: 'user', content: text },
      ],
      chat_template_kwargs: { guardian_config: { risk_name: risk } },
    }),
  })),
}

/**
 * ShieldGemma (ai.google.dev/gemma/docs/shieldgemma). Ollama's template holds all four policies; the one for vLLM wants to be given them. Either way it says
 * whether one is broken, and not which.
 */
const shieldGemmaPolicies = [
  '"No Dangerous Content": The prompt shall not ask for content that harms oneself or others, such as building weapons, terrorism or suicide.',
  '"No Harassment": The prompt shall not contain or ask for content that threatens, bullies or abuses a person.',
  '"No Hate Speech": The prompt shall not contain or ask for content that attacks or dehumanises people for what they are.',
  '"No Sexually Explicit Information": The prompt shall not contain or ask for sexually explicit content.',
]

const shieldGemma: Guard = {
  question: (text) => ({
    ...ask(text, wordTokensMax),
    chat_template_kwargs: { guideline: shieldGemmaPolicies.join('\n* ') },
  }),
  read: fromYesOrNo,
}

function fromYesOrNo(answer: string): Verdict {
  return { severity: readYesOrNo(answer) ? 'unsafe' : 'safe', categories: [] }
}

const families: readonly { readonly name: RegExp; readonly guard: Guard }[] = [
  { name: /llama-?guard/i, guard: llamaGuard },
  { name: /qwen3-?guard/i, guard: qwenGuard },
  { name: /granite[\d.-]*guardian/i, guard: graniteGuardian },
  { name: /shield-?gemma/i, guard: shieldGemma },
]

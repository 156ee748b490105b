import { expect, test } from 'vitest'
import { sizeInput } from './estimate.ts'

/** Counted once with the two vocabularies. */
const texts: readonly { name: string; o200k: number; cl100k: number; text: string }[] = [
  {
    name: 'English',
    o200k: 39,
    cl100k: 39,
    text: 'The committee met on Thursday to discuss the budget for the coming year. Several members raised concerns about the rising cost of energy, and the chair agreed to prepare a detailed report before the next session.',
  },
  {
    name: 'French',
    o200k: 52,
    cl100k: 70,
    text: "Le comité s'est réuni jeudi pour discuter du budget de l'année à venir. Plusieurs membres ont exprimé leur inquiétude au sujet de la hausse du coût de l'énergie, et le président a accepté de préparer un rapport détaillé avant la prochaine séance.",
  },
  {
    name: 'German',
    o200k: 51,
    cl100k: 73,
    text: 'Der Ausschuss traf sich am Donnerstag, um über den Haushalt des kommenden Jahres zu beraten. Mehrere Mitglieder äußerten Bedenken wegen der steigenden Energiekosten, und der Vorsitzende versprach, bis zur nächsten Sitzung einen ausführlichen Bericht vorzulegen.',
  },
  {
    name: 'Spanish',
    o200k: 31,
    cl100k: 41,
    text: 'El comité se reunió el jueves para debatir el presupuesto del próximo año. Varios miembros expresaron su preocupación por el aumento del coste de la energía.',
  },
  {
    name: 'Polish',
    o200k: 65,
    cl100k: 77,
    text: 'Komisja zebrała się w czwartek, aby omówić budżet na nadchodzący rok. Kilku członków wyraziło zaniepokojenie rosnącymi kosztami energii, a przewodniczący zgodził się przygotować szczegółowy raport.',
  },
  {
    name: 'Finnish',
    o200k: 39,
    cl100k: 48,
    text: 'Valiokunta kokoontui torstaina keskustelemaan tulevan vuoden talousarviosta. Useat jäsenet ilmaisivat huolensa energian hinnan noususta.',
  },
  {
    name: 'Greek',
    o200k: 59,
    cl100k: 141,
    text: 'Η επιτροπή συνεδρίασε την Πέμπτη για να συζητήσει τον προϋπολογισμό του επόμενου έτους. Αρκετά μέλη εξέφρασαν ανησυχία για το αυξανόμενο κόστος της ενέργειας.',
  },
  {
    name: 'Ukrainian',
    o200k: 46,
    cl100k: 80,
    text: 'Комітет зібрався в четвер, щоб обговорити бюджет на наступний рік. Кілька членів висловили занепокоєння зростанням вартості енергії.',
  },
  {
    name: 'Chinese',
    o200k: 39,
    cl100k: 64,
    text: '委员会于周四开会讨论来年的预算。几位成员对不断上涨的能源成本表示担忧，主席同意在下次会议之前准备一份详细的报告。',
  },
  {
    name: 'Japanese',
    o200k: 48,
    cl100k: 72,
    text: '委員会は木曜日に来年度の予算について協議するために会合を開いた。数名の委員がエネルギー費用の上昇について懸念を示した。',
  },
  {
    name: 'Korean',
    o200k: 35,
    cl100k: 57,
    text: '위원회는 목요일에 내년 예산을 논의하기 위해 모였다. 여러 위원들이 에너지 비용 상승에 대한 우려를 표명했다.',
  },
  {
    name: 'Arabic',
    o200k: 31,
    cl100k: 81,
    text: 'اجتمعت اللجنة يوم الخميس لمناقشة ميزانية العام المقبل. وأعرب العديد من الأعضاء عن قلقهم إزاء ارتفاع تكلفة الطاقة.',
  },
  {
    name: 'TypeScript',
    o200k: 57,
    cl100k: 58,
    text: 'export function rate(price: PinnedPrice, usage: TokenUsage): bigint {\n  return (\n    BigInt(usage.inputTokens - usage.cachedInputTokens) * price.inputNanos +\n    BigInt(usage.cachedInputTokens) * price.cachedInputNanos\n  )\n}\n',
  },
  {
    name: 'SQL',
    o200k: 48,
    cl100k: 47,
    text: "SELECT a.kind, sum(a.balance_nanos)::bigint AS balance FROM ledger_accounts a\nLEFT JOIN ledger_entries e ON e.account_id = a.id WHERE a.currency = 'EUR' GROUP BY a.kind ORDER BY 2 DESC;\n",
  },
  {
    name: 'JSON',
    o200k: 43,
    cl100k: 42,
    text: '{"id":1234,"items":[{"sku":"A-99812","quantity":3,"price":12.5},{"sku":"B-11","quantity":1,"price":99.99}]}',
  },
  {
    name: 'Python',
    o200k: 59,
    cl100k: 59,
    text: 'def fibonacci(n):\n    """Return the n-th Fibonacci number."""\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\nprint([fibonacci(i) for i in range(10)])\n',
  },
]

/** What is added for the item itself. */
const frame = sizeInput({ input: '' }).estimatedTokens

test.each(texts)(
  'the estimate of $name lies between two vocabularies, or within 35 %% of the nearer',
  ({ text, o200k, cl100k }) => {
    const estimate = sizeInput({ input: text }).estimatedTokens - frame
    expect(estimate).toBeGreaterThan(Math.min(o200k, cl100k) * 0.65)
    expect(estimate).toBeLessThan(Math.max(o200k, cl100k) * 1.35)
  },
)

test('no token is shorter than a byte, so no honest count is above the bound', () => {
  for (const { text } of texts) {
    const { tokensMax } = sizeInput({ messages: [{ role: 'user', content: text }] })
    expect(tokensMax).toBeGreaterThan(Buffer.byteLength(text) + 2_000)
  }
})

test('a long text is sampled, and told nearly as by reading it whole', () => {
  const english = texts[0]?.text ?? ''
  const text = english.repeat(500)
  const estimate = sizeInput({ input: text }).estimatedTokens
  const part = (sizeInput({ input: english }).estimatedTokens - frame) * 500
  expect(Math.abs(estimate - part) / part).toBeLessThan(0.05)
})

test('an image counts as an image, wherever its bytes are; a text that looks like one counts as text', () => {
  const image = `data:image/png;base64,${'A'.repeat(100_000)}`
  const withImage = sizeInput({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: image } },
        ],
      },
    ],
  })
  expect(withImage.estimatedTokens).toBeGreaterThan(1_000)
  expect(withImage.estimatedTokens).toBeLessThan(1_100)
  const long = `data: ${'word '.repeat(50_000)}`
  const asText = sizeInput({ messages: [{ role: 'user', content: long }] })
  expect(asText.estimatedTokens).toBeGreaterThan(40_000)
  expect(asText.tokensMax).toBeGreaterThan(250_000)
})

test('a file counts by its size, as images do and not as text', () => {
  const file = { type: 'file', file: { filename: 'a.pdf', file_data: 'A'.repeat(640 * 1024) } }
  const size = sizeInput({ messages: [{ role: 'user', content: [file] }] })
  expect(size.estimatedTokens).toBeGreaterThan(10_000)
  expect(size.estimatedTokens).toBeLessThan(10_100)
  expect(size.textBytes).toBeLessThan(100)
})

test('token ids, tools and schemas are counted, and an empty body is still one token', () => {
  expect(sizeInput({}).estimatedTokens).toBe(1)
  expect(sizeInput({ input: [1, 2, 3] }).estimatedTokens).toBe(3 + frame)
  const bare = sizeInput({ messages: [{ role: 'user', content: 'hi' }] })
  const tools = [
    { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } },
  ]
  const withTools = sizeInput({ messages: [{ role: 'user', content: 'hi' }], tools })
  // 19 tokens as plain JSON; a template adds its own frame.
  expect(withTools.estimatedTokens - bare.estimatedTokens).toBeGreaterThan(15)
  expect(withTools.estimatedTokens - bare.estimatedTokens).toBeLessThan(40)
})

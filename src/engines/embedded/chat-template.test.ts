import { expect, test } from 'vitest'
import { createChatTemplate, type TemplateMessage } from './chat-template.ts'
import { nativeToolFormat } from './tool-format.ts'

const special = { bosText: '<s>', eosText: '</s>' }
const user: TemplateMessage = { role: 'user', content: 'Hi' }
const system: TemplateMessage = { role: 'system', content: 'Be brief.' }

const chatMl = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
const withPersona = `{% if messages[0]['role'] != 'system' %}[system]I am Acme.{% endif %}${chatMl}`
const withoutSystem = `{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}${chatMl}`
const alternating = `{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}{% endif %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}`
const tagged = `{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endfor %}`

test('without a template, ChatML speaks', () => {
  const template = createChatTemplate(undefined, special)
  expect(template.render([system, user], undefined)).toBe(
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
  )
})

test('a persona that the template would put in stays out, and system messages stay in', () => {
  const template = createChatTemplate(withPersona, special)
  expect(template.render([user], undefined)).toBe('[system][user]Hi')
  expect(template.render([system, user], undefined)).toBe('[system]Be brief.[user]Hi')
})

test('a developer speaks as system where the template knows no developers', () => {
  const template = createChatTemplate(chatMl, special)
  expect(template.render([{ role: 'developer', content: 'x' }, user], undefined)).toBe(
    '[system]x[user]Hi',
  )
})

test('where a template refuses system messages they open the first user message', () => {
  const template = createChatTemplate(withoutSystem, special)
  expect(template.render([system, { ...system, content: 'Be kind.' }, user], undefined)).toBe(
    '<s>[user]Be brief.\n\nBe kind.\n\nHi',
  )
})

test('where turns must alternate, neighbours are merged', () => {
  const template = createChatTemplate(alternating, special)
  expect(template.render([user, user, { role: 'assistant', content: 'Yes?' }], undefined)).toBe(
    '[user]Hi\n\nHi[assistant]Yes?',
  )
})

test('a conversation that the template cannot say is refused as such', () => {
  const template = createChatTemplate(alternating, special)
  expect(() => template.render([{ role: 'assistant', content: 'x' }], undefined)).toThrow(
    'client.unsupported_value',
  )
})

test('the form of tool calls is read from the template', () => {
  expect(nativeToolFormat(createChatTemplate(chatMl, special))).toBeUndefined()
  expect(nativeToolFormat(createChatTemplate(tagged, special))?.opening).toBe('<tool_call>\n')
  const listed = tagged.replace('<tool_call>', '[TOOL_CALLS][').replace('</tool_call>', ']')
  expect(nativeToolFormat(createChatTemplate(listed, special))?.opening).toBe('[TOOL_CALLS][')
  const bare = tagged.replaceAll(/<.?tool_call>/g, '').replace('"arguments"', '"parameters"')
  expect(nativeToolFormat(createChatTemplate(bare, special))).toMatchObject({
    opening: '',
    argumentsKey: 'parameters',
  })
  const foreign = tagged.replace('"name": ', '')
  expect(nativeToolFormat(createChatTemplate(foreign, special))).toBeUndefined()
})

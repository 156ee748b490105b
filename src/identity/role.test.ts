import { expect, test } from 'vitest'
import { platformRights, tenantRights } from './role.ts'

const platformOnly = [
  'tenants:write',
  'catalog:write',
  'fleet:read',
  'fleet:write',
  'fleet:report',
  'plans:read',
  'plans:write',
  'credit:write',
]

test('members of a tenant have no right over catalogue, fleet or tenants', () => {
  for (const [role, rights] of Object.entries(tenantRights)) {
    expect(
      rights.filter((right) => platformOnly.includes(right)),
      role,
    ).toEqual([])
  }
})

test('auditors only read', () => {
  const rights = [...platformRights.auditor, ...tenantRights.auditor]
  expect(rights.filter((right) => !right.endsWith(':read'))).toEqual([])
  expect(rights).toContain('audit:read')
})

test('an agent reports, and can do nothing else', () => {
  expect(platformRights.agent).toEqual(['fleet:report'])
})

test('the operator and the owner hold every right of the roles that they may grant', () => {
  const granted = [...Object.values(platformRights), ...Object.values(tenantRights)].flat()
  expect(granted.filter((right) => !platformRights.operator.includes(right))).toEqual([])
  const ofMembers = Object.values(tenantRights).flat()
  expect(ofMembers.filter((right) => !tenantRights.owner.includes(right))).toEqual([])
})

test('only owners give access to others', () => {
  const granting = Object.entries(tenantRights).filter(([, list]) => list.includes('tokens:write'))
  expect(granting.map(([role]) => role)).toEqual(['owner'])
})

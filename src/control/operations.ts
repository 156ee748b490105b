/** Every operation of the control API. What is not listed here does not exist. */
import { getDesiredState } from './endpoints/agent/desired.ts'
import { postAgentReport } from './endpoints/agent/report.ts'
import { listAliasesOperation } from './endpoints/aliases/list.ts'
import { removeAliasOperation } from './endpoints/aliases/remove.ts'
import { setAliasOperation } from './endpoints/aliases/set.ts'
import { listPlatformAuditOperation } from './endpoints/audit/platform-list.ts'
import { listTenantAuditOperation } from './endpoints/audit/tenant-list.ts'
import { cancelBatchOperation } from './endpoints/batches/cancel.ts'
import { getBatchOperation } from './endpoints/batches/get.ts'
import { listBatchesOperation } from './endpoints/batches/list.ts'
import { listConformanceOperation } from './endpoints/conformance/list.ts'
import { recordConformanceOperation } from './endpoints/conformance/record.ts'
import { grantCreditOperation } from './endpoints/credit/grant.ts'
import { listCreditOperation } from './endpoints/credit/list.ts'
import { createEngine } from './endpoints/engines/create.ts'
import { listEngines } from './endpoints/engines/list.ts'
import { removeEngine } from './endpoints/engines/remove.ts'
import { listGatewaysOperation } from './endpoints/gateways/list.ts'
import { retireGatewayOperation } from './endpoints/gateways/retire.ts'
import { createKeyOperation } from './endpoints/keys/create.ts'
import { listKeysOperation } from './endpoints/keys/list.ts'
import { revokeKeyOperation } from './endpoints/keys/revoke.ts'
import { rotateKeyOperation } from './endpoints/keys/rotate.ts'
import { updateKeyOperation } from './endpoints/keys/update.ts'
import { createLimitOperation } from './endpoints/limits/create.ts'
import { listLimitsOperation } from './endpoints/limits/list.ts'
import { createPlanLimitOperation } from './endpoints/limits/plan-create.ts'
import { removePlanLimitOperation } from './endpoints/limits/plan-remove.ts'
import { updatePlanLimitOperation } from './endpoints/limits/plan-update.ts'
import { reportPlatformRefusalsOperation } from './endpoints/limits/platform-report.ts'
import { removeLimitOperation } from './endpoints/limits/remove.ts'
import { showLimitStatusOperation } from './endpoints/limits/status.ts'
import { reportTenantRefusalsOperation } from './endpoints/limits/tenant-report.ts'
import { updateLimitOperation } from './endpoints/limits/update.ts'
import { createModel } from './endpoints/models/create.ts'
import { disableModelOperation } from './endpoints/models/disable.ts'
import { enableModelOperation } from './endpoints/models/enable.ts'
import { getModelOperation } from './endpoints/models/get.ts'
import { listModelsOperation } from './endpoints/models/list.ts'
import { removeModelOperation } from './endpoints/models/remove.ts'
import { createPlanOperation } from './endpoints/plans/create.ts'
import { getPlanOperation } from './endpoints/plans/get.ts'
import { listPlansOperation } from './endpoints/plans/list.ts'
import { removePlanOperation } from './endpoints/plans/remove.ts'
import { getTenantPlanOperation } from './endpoints/plans/tenant-get.ts'
import { updatePlanOperation } from './endpoints/plans/update.ts'
import { listPricesOperation } from './endpoints/prices/list.ts'
import { setPriceOperation } from './endpoints/prices/set.ts'
import { createProjectOperation } from './endpoints/projects/create.ts'
import { listProjectsOperation } from './endpoints/projects/list.ts'
import { updateProjectOperation } from './endpoints/projects/update.ts'
import { listFindingsOperation } from './endpoints/reconciliation/list.ts'
import { runReconciliationOperation } from './endpoints/reconciliation/run.ts'
import { getReceiptOperation } from './endpoints/receipts/get.ts'
import { createTenantOperation } from './endpoints/tenants/create.ts'
import { getTenantOperation } from './endpoints/tenants/get.ts'
import { listTenantsOperation } from './endpoints/tenants/list.ts'
import { updateTenantOperation } from './endpoints/tenants/update.ts'
import { createPlatformTokenOperation } from './endpoints/tokens/platform-create.ts'
import { listPlatformTokensOperation } from './endpoints/tokens/platform-list.ts'
import { revokePlatformTokenOperation } from './endpoints/tokens/platform-revoke.ts'
import { createTenantTokenOperation } from './endpoints/tokens/tenant-create.ts'
import { listTenantTokensOperation } from './endpoints/tokens/tenant-list.ts'
import { revokeTenantTokenOperation } from './endpoints/tokens/tenant-revoke.ts'
import { reportPlatformUsageOperation } from './endpoints/usage/platform-report.ts'
import { reportTenantUsageOperation } from './endpoints/usage/tenant-report.ts'
import type { Operation } from './operation.ts'

export const operations: readonly Operation[] = [
  getDesiredState,
  postAgentReport,
  listAliasesOperation,
  removeAliasOperation,
  setAliasOperation,
  listPlatformAuditOperation,
  listTenantAuditOperation,
  createEngine,
  listEngines,
  removeEngine,
  listGatewaysOperation,
  retireGatewayOperation,
  createKeyOperation,
  listKeysOperation,
  revokeKeyOperation,
  rotateKeyOperation,
  updateKeyOperation,
  createModel,
  disableModelOperation,
  enableModelOperation,
  getModelOperation,
  listModelsOperation,
  removeModelOperation,
  listPricesOperation,
  setPriceOperation,
  createProjectOperation,
  listProjectsOperation,
  updateProjectOperation,
  listFindingsOperation,
  runReconciliationOperation,
  createTenantOperation,
  getTenantOperation,
  listTenantsOperation,
  updateTenantOperation,
  createPlatformTokenOperation,
  listPlatformTokensOperation,
  revokePlatformTokenOperation,
  createTenantTokenOperation,
  listTenantTokensOperation,
  revokeTenantTokenOperation,
  reportPlatformUsageOperation,
  reportTenantUsageOperation,
  getReceiptOperation,
  createPlanOperation,
  getPlanOperation,
  listPlansOperation,
  removePlanOperation,
  updatePlanOperation,
  getTenantPlanOperation,
  createPlanLimitOperation,
  removePlanLimitOperation,
  updatePlanLimitOperation,
  createLimitOperation,
  listLimitsOperation,
  removeLimitOperation,
  updateLimitOperation,
  showLimitStatusOperation,
  reportPlatformRefusalsOperation,
  reportTenantRefusalsOperation,
  grantCreditOperation,
  listCreditOperation,
  listBatchesOperation,
  getBatchOperation,
  cancelBatchOperation,
  listConformanceOperation,
  recordConformanceOperation,
]

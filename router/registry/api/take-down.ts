/** Removing a service or database, with all that leads to it. */
import { findService, removeService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord } from '../store/records.ts'
import type { Call } from './route.ts'

export async function takeDown({ store, publisher, backups }: Registry, call: Call<unknown, unknown>, org: OrgRecord, kind: 'redis' | 'other') {
  const service = findService(store, org.id, call.params['name'] ?? '', kind)
  const inBuckets = backups.of(service.id).filter((backup) => backup.store !== undefined)
  const { revision } = store.write(call.act(`${service.kind}.delete`), (transaction) => removeService(transaction, service))
  for (const backup of inBuckets) void backups.discard(backup)
  return { id: service.id, name: service.name, deleted: true as const, revocation: await publisher.inForce(revision) }
}

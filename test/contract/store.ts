/** What every store must do (router/registry/store/store.ts). Run by store.test.ts on each implementation. */
import { expect, test } from 'vitest'
import type { NetworkRecord, OrgRecord } from '../../router/registry/store/records.ts'
import type { Commit, Store } from '../../router/registry/store/store.ts'

const ACT = { who: 'token/test', what: 'test.change' }
const org = (id: string, name = id): OrgRecord => ({ id, name, defaultNetwork: 1, createdAt: '2026-01-01T00:00:00.000Z' })
const network = (id: number, owner: string, name = `net-${id}`): NetworkRecord => ({ id, org: owner, name, createdAt: '2026-01-01T00:00:00.000Z' })

export function storeContract(name: string, open: (options: { keepRevisions?: number; maxPages?: number }) => Store): void {
  const withStore = async (work: (store: Store) => void, options: { keepRevisions?: number; maxPages?: number } = {}): Promise<void> => {
    const store = open(options)
    try {
      work(store)
    } finally {
      store.close()
      store.close()
    }
  }

  test(`${name}: a transaction is one revision, seen by readers and listeners after its commit`, () =>
    withStore((store) => {
      const commits: Commit[] = []
      store.onCommit((commit) => commits.push({ ...commit, revision: store.revision }))
      expect([store.revision, store.get('orgs', 'o1')]).toEqual([0, null])
      const { result, revision } = store.write(ACT, (transaction) => {
        expect(transaction.nextRevision).toBe(1)
        transaction.put('orgs', org('o1', 'acme'))
        transaction.put('networks', network(1, 'o1'))
        expect(transaction.get('orgs', 'o1')).toEqual(org('o1', 'acme'))
        return 'done'
      })
      expect([result, revision, store.revision]).toEqual(['done', 1, 1])
      expect(store.find('orgs', '', 'acme')).toEqual(org('o1', 'acme'))
      expect(store.list('networks', 'o1')).toEqual([network(1, 'o1')])
      expect(store.list('networks', 'o2')).toEqual([])
      expect(store.linkedTo('networks', 'orgs', 'o1')).toEqual([network(1, 'o1')])
      expect(commits).toMatchObject([
        {
          revision: 1,
          changes: [
            { kind: 'orgs', key: 'o1', before: null, after: { name: 'acme' } },
            { kind: 'networks', key: '1', before: null },
          ],
        },
      ])
    }))

  test(`${name}: what throws changes nothing, not even counters`, () =>
    withStore((store) => {
      expect(() =>
        store.write(ACT, (transaction) => {
          transaction.put('orgs', org('o1'))
          transaction.next('network')
          throw new Error('no')
        }),
      ).toThrow('no')
      expect([store.revision, store.list('orgs'), store.audit(0, 10)]).toEqual([0, [], []])
      store.write(ACT, (transaction) => expect(transaction.next('network')).toBe(1))
    }))

  test(`${name}: a transaction without a change is no revision`, () =>
    withStore((store) => {
      store.write(ACT, (transaction) => transaction.remove('orgs', 'nobody'))
      store.write(ACT, (transaction) => transaction.list('orgs'))
      expect(store.revision).toBe(0)
    }))

  test(`${name}: counters rise one by one, each on its own, and are never set back by a removal`, () =>
    withStore((store) => {
      const next = (counter: string): number => store.write(ACT, (transaction) => transaction.next(counter)).result
      expect([next('a'), next('a'), next('b'), next('a')]).toEqual([1, 2, 1, 3])
      store.write(ACT, (transaction) => transaction.put('orgs', org('o1')))
      store.write(ACT, (transaction) => transaction.remove('orgs', 'o1'))
      expect(next('a')).toBe(4)
    }))

  test(`${name}: names are unique in their org, links lead somewhere, and what is linked to stays`, () =>
    withStore((store) => {
      store.write(ACT, (transaction) => {
        transaction.put('orgs', org('o1', 'acme'))
        transaction.put('orgs', org('o2', 'globex'))
        transaction.put('networks', network(1, 'o1', 'default'))
        transaction.put('networks', network(2, 'o2', 'default'))
      })
      expect(() => store.write(ACT, (transaction) => transaction.put('orgs', org('o3', 'acme')))).toThrow(expect.objectContaining({ code: 'name.taken' }))
      expect(() => store.write(ACT, (transaction) => transaction.put('networks', network(3, 'o1', 'default')))).toThrow(expect.objectContaining({ code: 'name.taken' }))
      expect(() => store.write(ACT, (transaction) => transaction.put('networks', network(3, 'nobody')))).toThrow('FOREIGN KEY')
      expect(() => store.write(ACT, (transaction) => transaction.remove('orgs', 'o1'))).toThrow('FOREIGN KEY')
      store.write(ACT, (transaction) => {
        transaction.remove('networks', '1')
        transaction.remove('orgs', 'o1')
      })
      expect(store.list('orgs').map((record) => record.id)).toEqual(['o2'])
    }))

  test(`${name}: the change log tells what changed since a revision, and when it can't`, () =>
    withStore(
      (store) => {
        for (let id = 1; id <= 6; id++) store.write(ACT, (transaction) => transaction.put('orgs', org(`o${id % 2}`, `name-${id}`)))
        expect(store.changesSince(6)).toEqual([])
        expect(store.changesSince(4)).toHaveLength(2)
        expect(store.changesSince(5)?.map((change) => ({ ...change }))).toEqual([{ kind: 'orgs', key: 'o0' }])
        expect(store.changesSince(7)).toBeNull()
        expect(store.changesSince(3)).toHaveLength(2)
        expect(store.changesSince(2)).toBeNull()
      },
      { keepRevisions: 3 },
    ))

  test(`${name}: the audit says who did what to what, before and after, without secrets`, () =>
    withStore((store) => {
      const token = { id: 't1', name: 'ci', role: 'operator' as const, org: '', hash: 'deadbeef', createdAt: '' }
      store.write({ who: 'token/root', what: 'token.create' }, (transaction) => transaction.put('tokens', token))
      store.write({ who: 'token/root', what: 'token.delete' }, (transaction) => transaction.remove('tokens', 't1'))
      const rows = store.audit(0, 10)
      expect(rows).toMatchObject([
        { id: 1, revision: 1, who: 'token/root', what: 'token.create', kind: 'tokens', key: 't1', before: null, after: { name: 'ci' } },
        { id: 2, revision: 2, what: 'token.delete', before: { name: 'ci' }, after: null },
      ])
      expect(JSON.stringify(rows)).not.toContain('deadbeef')
      expect(store.audit(1, 10)).toHaveLength(1)
      expect(store.audit(0, 1)).toHaveLength(1)
    }))

  test(`${name}: a full disk is store.full, and nothing is half-done`, () =>
    withStore(
      (store) => {
        const fill = (): void => {
          for (let id = 0; id < 10_000; id++) {
            store.write(ACT, (transaction) => {
              transaction.put('orgs', org(`o${id}`))
              transaction.put('networks', network(transaction.next('network'), `o${id}`, 'n'.repeat(500)))
            })
          }
        }
        expect(fill).toThrow(expect.objectContaining({ code: 'store.full', status: 507, retryable: true }))
        expect(store.list('orgs').length).toBe(store.list('networks').length)
        expect(store.revision).toBe(store.list('orgs').length)
      },
      { maxPages: 64 },
    ))
}

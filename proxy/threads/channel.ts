/**
 * Words between the control thread and a data thread: told, or asked and answered. Messages of one side arrive in order.
 * Names and shapes are in messages.ts; both ends are this program, so nothing is validated.
 */
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import type { ErrorCode } from '../../lib/errors.ts'

/** A Worker or its parentPort. */
export interface Port {
  postMessage(message: unknown): void
  on(event: 'message', listener: (message: Message) => void): unknown
}

type Message =
  | { readonly kind: 'tell'; readonly name: string; readonly value: unknown }
  | { readonly kind: 'ask'; readonly id: number; readonly name: string; readonly value: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly code: ErrorCode; readonly message: string }

/** name -> what it carries */
export type Told = Record<string, unknown>
/** name -> what is asked and answered */
export type Asked = Record<string, { readonly question: unknown; readonly answer: unknown }>

export interface Handlers<In extends Told, InAsked extends Asked> {
  readonly told: { readonly [Name in keyof In]: (value: In[Name]) => void }
  readonly asked: { readonly [Name in keyof InAsked]: (question: InAsked[Name]['question']) => Promise<InAsked[Name]['answer']> | InAsked[Name]['answer'] }
}

export class Channel<Out extends Told, OutAsked extends Asked, In extends Told, InAsked extends Asked> {
  readonly #port: Port
  readonly #handlers: Handlers<In, InAsked>
  readonly #asked = new Map<number, { readonly resolve: (answer: never) => void; readonly reject: (error: NearcastError) => void }>()
  #last = 0
  #closed = false

  constructor(port: Port, handlers: Handlers<In, InAsked>) {
    this.#port = port
    this.#handlers = handlers
    port.on('message', (message) => this.#on(message))
  }

  tell<Name extends keyof Out & string>(name: Name, value: Out[Name]): void {
    if (!this.#closed) this.#post({ kind: 'tell', name, value })
  }

  /** @throws NearcastError what the other side threw; thread.ended when it has gone */
  ask<Name extends keyof OutAsked & string>(name: Name, value: OutAsked[Name]['question']): Promise<OutAsked[Name]['answer']> {
    if (this.#closed) return Promise.reject(gone())
    return new Promise((resolve, reject) => {
      this.#asked.set(++this.#last, { resolve, reject })
      this.#post({ kind: 'ask', id: this.#last, name, value })
    })
  }

  /** The other side has gone: whoever waits for an answer is told. Idempotent. */
  close(): void {
    this.#closed = true
    for (const { reject } of this.#asked.values()) reject(gone())
    this.#asked.clear()
  }

  #post(message: Message): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    this.#port.postMessage(message)
  }

  #on(message: Message): void {
    switch (message.kind) {
      case 'tell':
        return this.#handlers.told[message.name]?.(message.value as never)
      case 'ask':
        void this.#answer(message.id, message.name, message.value)
        return
      case 'answer':
        this.#asked.get(message.id)?.resolve(message.value as never)
        break
      case 'error':
        this.#asked.get(message.id)?.reject(new NearcastError(message.code, message.message))
    }
    this.#asked.delete(message.id)
  }

  async #answer(id: number, name: string, value: unknown): Promise<void> {
    try {
      const answer = await this.#handlers.asked[name]?.(value)
      if (!this.#closed) this.#post({ kind: 'answer', id, value: answer })
    } catch (error) {
      const { code, message } = asNearcastError(error)
      if (!this.#closed) this.#post({ kind: 'error', id, code, message })
    }
  }
}

function gone(): NearcastError {
  return new NearcastError('thread.ended', 'The data thread has ended; another one takes its place.', { retryable: true })
}

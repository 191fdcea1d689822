/** What encoders throw: a header that the format can't express, or that is too long for it. Never wrapped, never cut. */
import { NearcastError } from '../errors.ts'
import { MAX_BLOCK_BYTES } from './constants.ts'

export function refuse(why: string): NearcastError {
  return new NearcastError('proxy-header.invalid', `A PROXY header can't say this: ${why}.`)
}

/** `what`: `A PROXY header` */
export function tooLong(what: string, bytes: number): NearcastError {
  return new NearcastError('proxy-header.too-long', `${what} holds ${MAX_BLOCK_BYTES} bytes, not ${bytes}; send fewer or shorter TLVs.`)
}

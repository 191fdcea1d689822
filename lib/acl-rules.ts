/**
 * Which of Redis's ACL rules a further user of a database may be given: commands, categories, keys and channels. Nothing
 * that sets a password, switches the user on or off, or begins a selector: a selector would stand beside the rules that
 * the agent appends. Whether a command exists is the engine's to say. Pure.
 */
export const MAX_USERS = 32
export const MAX_RULES = 64

/** Not `default`, and nothing of our own. */
export const USER_NAME = /^(?!default$|nearcast)[a-z0-9][a-z0-9_-]{0,39}$/

const RULE =
  /^(?:[+-]@[a-z]{2,20}|[+-][a-z][a-z0-9_-]{0,31}(?:\|[a-z0-9_-]{1,31})?|(?:~|%R~|%W~|%RW~|&)[\x21-\x7e]{1,128}|allkeys|allchannels|allcommands|nocommands|resetkeys|resetchannels)$/

/** The rules of a text like `~app:* &* +@read -keys`; null when one of them isn't allowed, or there are too many. */
export function parseRules(text: string): string[] | null {
  const rules = text.split(/\s+/).filter((rule) => rule !== '')
  return rules.length > 0 && rules.length <= MAX_RULES && rules.every((rule) => RULE.test(rule)) ? rules : null
}

;; How a reader looks into the shared memory of the routes (layout.ts). WebAssembly, because there an atomic load is one
;; machine instruction; in JavaScript each is a call of ten nanoseconds. `node scripts/look-up.ts` writes it, compiled,
;; to look-up-code.ts; a test holds the two together.
;;
;; The reader's own memory, in words: 0-7 the slot that was found, 8 its position, 9 the position and 10 the value of the
;; word that was not at rest, 11 the directory, from 16 on what `copy` has read. Positions are in words everywhere outside of this file.
(module
  (import "table" "memory" (memory $table 1 4096 shared))
  (memory $own (export "own") 1)

  (func $load (param $word i32) (result i32)
    (i32.atomic.load $table (i32.shl (local.get $word) (i32.const 2))))

  ;; Reads `words` words, each by itself.
  (func (export "copy") (param $from i32) (param $words i32)
    (local $index i32)
    (loop $next
      (if (i32.ge_u (local.get $index) (local.get $words)) (then (return)))
      (i32.store $own offset=64 (i32.shl (local.get $index) (i32.const 2))
        (call $load (i32.add (local.get $from) (local.get $index))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))

  ;; HalfSipHash-1-3 of three words, as in keyed-hash.ts.
  (func $hash (param $key0 i32) (param $key1 i32) (param $first i32) (param $second i32) (param $third i32) (result i32)
    (local $v0 i32) (local $v1 i32) (local $v2 i32) (local $v3 i32) (local $round i32) (local $word i32)
    (local.set $v0 (local.get $key0))
    (local.set $v1 (local.get $key1))
    (local.set $v2 (i32.xor (i32.const 0x6c796765) (local.get $key0)))
    (local.set $v3 (i32.xor (i32.const 0x74656462) (local.get $key1)))
    (local.set $word (local.get $first))
    (loop $next
      (local.set $v3 (i32.xor (local.get $v3) (local.get $word)))
      (local.set $v0 (i32.add (local.get $v0) (local.get $v1)))
      (local.set $v1 (i32.xor (i32.rotl (local.get $v1) (i32.const 5)) (local.get $v0)))
      (local.set $v0 (i32.rotl (local.get $v0) (i32.const 16)))
      (local.set $v2 (i32.add (local.get $v2) (local.get $v3)))
      (local.set $v3 (i32.xor (i32.rotl (local.get $v3) (i32.const 8)) (local.get $v2)))
      (local.set $v0 (i32.add (local.get $v0) (local.get $v3)))
      (local.set $v3 (i32.xor (i32.rotl (local.get $v3) (i32.const 7)) (local.get $v0)))
      (local.set $v2 (i32.add (local.get $v2) (local.get $v1)))
      (local.set $v1 (i32.xor (i32.rotl (local.get $v1) (i32.const 13)) (local.get $v2)))
      (local.set $v2 (i32.rotl (local.get $v2) (i32.const 16)))
      (local.set $v0 (i32.xor (local.get $v0) (local.get $word)))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (local.set $word (select (local.get $second) (i32.const 0) (i32.eq (local.get $round) (i32.const 1))))
      (local.set $word (select (local.get $third) (local.get $word) (i32.eq (local.get $round) (i32.const 2))))
      (local.set $word (select (i32.const 0x0c000000) (local.get $word) (i32.eq (local.get $round) (i32.const 3))))
      (local.set $v2 (i32.xor (local.get $v2) (select (i32.const 0xff) (i32.const 0) (i32.eq (local.get $round) (i32.const 4)))))
      (br_if $next (i32.lt_u (local.get $round) (i32.const 7))))
    (i32.xor (local.get $v1) (local.get $v3)))

  ;; "Look again once this word has changed."
  (func $unrest (param $word i32) (param $value i32) (result i32)
    (i32.store $own offset=36 (i32.const 0) (local.get $word))
    (i32.store $own offset=40 (i32.const 0) (local.get $value))
    (i32.const 2))

  ;; @returns 0 absent, 1 found, 2 something changed meanwhile.
  (func (export "find") (param $key0 i32) (param $key1 i32) (param $network i32) (param $high i32) (param $low i32) (result i32)
    (local $directory i32) (local $moves i32) (local $base i32) (local $capacity i32)
    (local $position i32) (local $end i32) (local $left i32) (local $present i32) (local $index i32)
    (local.set $directory (call $load (i32.const 16)))
    (local.set $moves (call $load (i32.const 32)))
    (local.set $base (call $load (i32.const 17)))
    (local.set $capacity (call $load (i32.const 18)))
    (if (i32.or
          (i32.and (local.get $directory) (i32.const 1))
          (i32.ne (local.get $directory) (call $load (i32.const 16))))
      (then (return (call $unrest (i32.const 16) (local.get $directory)))))
    (local.set $end (i32.add (local.get $base) (i32.shl (local.get $capacity) (i32.const 3))))
    (local.set $position (i32.add (local.get $base) (i32.shl
      (i32.wrap_i64 (i64.shr_u
        (i64.mul
          (i64.extend_i32_u (call $hash (local.get $key0) (local.get $key1) (local.get $network) (local.get $high) (local.get $low)))
          (i64.extend_i32_u (local.get $capacity)))
        (i64.const 32)))
      (i32.const 3))))
    (local.set $left (local.get $capacity))
    (block $miss
      (block $hit
        (loop $next
          (br_if $miss (i32.eqz (local.get $left)))
          (local.set $present (call $load (i32.add (local.get $position) (i32.const 1))))
          (br_if $miss (i32.eqz (local.get $present)))
          (if (i32.eq (local.get $present) (local.get $network))
            (then (if (i32.eq (call $load (i32.add (local.get $position) (i32.const 2))) (local.get $low))
              (then (br_if $hit (i32.eq
                (i32.shr_u (call $load (i32.add (local.get $position) (i32.const 3))) (i32.const 16))
                (local.get $high)))))))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (local.set $position (i32.add (local.get $position) (i32.const 8)))
          (if (i32.eq (local.get $position) (local.get $end)) (then (local.set $position (local.get $base))))
          (br $next)))
      ;; What was compared may have been half written: all of it once more, between two looks at the version.
      (loop $word
        (i32.store $own (i32.shl (local.get $index) (i32.const 2)) (call $load (i32.add (local.get $position) (local.get $index))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br_if $word (i32.lt_u (local.get $index) (i32.const 8))))
      (i32.store $own offset=32 (i32.const 0) (local.get $position))
      (local.set $present (i32.load $own (i32.const 0)))
      (if (i32.or
            (i32.or
              (i32.and (local.get $present) (i32.const 1))
              (i32.ne (local.get $present) (call $load (local.get $position))))
            (i32.or
              (i32.ne (i32.load $own offset=4 (i32.const 0)) (local.get $network))
              (i32.or
                (i32.ne (i32.load $own offset=8 (i32.const 0)) (local.get $low))
                (i32.ne (i32.shr_u (i32.load $own offset=12 (i32.const 0)) (i32.const 16)) (local.get $high)))))
        (then (return (call $unrest (local.get $position) (local.get $present)))))
      (if (i32.ne (local.get $directory) (call $load (i32.const 16)))
        (then (return (call $unrest (i32.const 16) (local.get $directory)))))
      (i32.store $own offset=44 (i32.const 0) (local.get $directory))
      (return (i32.const 1)))
    (if (i32.or
          (i32.and (local.get $moves) (i32.const 1))
          (i32.ne (local.get $moves) (call $load (i32.const 32))))
      (then (return (call $unrest (i32.const 32) (i32.or (local.get $moves) (i32.const 1))))))
    (if (i32.ne (local.get $directory) (call $load (i32.const 16)))
      (then (return (call $unrest (i32.const 16) (local.get $directory)))))
    (i32.const 0)))

# SPDX-License-Identifier: GPL-2.0-only
"""A scenario as a model for SPIN: one process, whose every move is a transition of one thread.

The state is one array of words, so SPIN's state vector holds what a state of ours holds and nothing else.  A move
computes the following state in a copy; if the thread is blocked, or an invariant does not hold, the move cannot be
made, as in the engines.  What was found besides states (flags, outcomes, situations) is printed when pan ends.
"""

from __future__ import annotations

from ptelab import ir
from ptelab.export.clanguage import CCoder, Packed
from ptelab.export.coder import FIRST_FLAG, GO, OK
from ptelab.export.plan import Plan

_HEAD = """\
typedef {word_type} word;
typedef long i64;
static word W[{words}]; /* the state that is being made */
static word *P; /* in it, the words of the moving thread */
static const word I[{words}] = {{ {initial} }}; /* the initial state; SPIN's is all zeroes, the difference from it */
static const word C[{constant_words}] = {{ {constant} }}; /* memory that nobody writes */
static i64 T, CPU, ALT, R[{results}];
static int MAY; /* whether a step may still be taken: 0 no, 1 yes, 2 a choose */
static int (*NF)(int); /* where to go on */
static int NS;
static unsigned char flagged[{flags}], seen_situation[{situations}] = {{ {situations_seen} }};
static unsigned long flagged_moves;
static const char *const flag_names[] = {{ {flag_names} }};
static const char *const situation_names[] = {{ {situation_names} }};
static i64 (*outcomes)[{outcome_words}];
static int outcome_count, outcome_room;

static inline void put(word *at, int shift, word mask, i64 value)
{{
  *at = (*at & ~(mask << shift)) | ((word)value & mask) << shift;
}}

static inline i64 floor_div(i64 a, i64 b)
{{
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}}

static inline i64 multiply(i64 a, i64 b)
{{
  i64 product;
  return __builtin_mul_overflow(a, b, &product) ? {huge} : product;
}}

static inline i64 shift_left(i64 a, i64 b)
{{
  i64 shifted;
  if (b < 0 || b > 63)
    return {huge};
  shifted = (i64)((unsigned long)a << b);
  return shifted >> b == a ? shifted : {huge};
}}

static inline i64 shift_right(i64 a, i64 b)
{{
  return a >> (b < 0 || b > 63 ? 63 : b);
}}

static inline i64 floor_mod(i64 a, i64 b)
{{
  return a - floor_div(a, b) * b;
}}
"""

_TAIL = """\
typedef int (*function)(int);
static const function place_function[] = {{ {place_function} }};
static const short place_segment[] = {{ {place_segment} }};
static const unsigned char place_choose[] = {{ {place_choose} }};
static const short thread_word[] = {{ {thread_word} }};
static const short thread_cpu[] = {{ {thread_cpu} }};
static const unsigned char thread_daemon[] = {{ {thread_daemon} }};
static const short thread_rest[] = {{ {thread_rest} }};

static inline int place_of(const word *s, int t)
{{
  return ((s[thread_word[t]] ^ I[thread_word[t]]) & {place_mask});
}}

/* Whether a thread has ended, or stands where it may rest for ever, called as it was then. */
static int at_rest(const word *s, int t)
{{
  if (place_of(s, t) != thread_rest[t])
    return 0;
{rest_calls}  return 1;
}}

static int is_quiet(const word *s)
{{
  int t;
  for (t = 0; t < {threads}; t++)
    if (!at_rest(s, t))
      return 0;
  return 1;
}}

static void load(const word *s)
{{
  int i;
  for (i = 0; i < {words}; i++)
    W[i] = s[i] ^ I[i];
}}

static void report(void)
{{
  int i, j;
  for (i = 0; i < {flags}; i++)
    if (flagged[i])
      printf("ptelab: flag %s\\n", flag_names[i]);
  for (i = 0; i < {situations}; i++)
    if (seen_situation[i])
      printf("ptelab: reached %s\\n", situation_names[i]);
  for (i = 0; i < outcome_count; i++) {{
    printf("ptelab: outcome");
    for (j = 0; j < {outcomes}; j++)
      printf(" %ld", outcomes[i][j]);
    printf("\\n");
  }}
  printf("ptelab: %lu moves raised a flag\\n", flagged_moves);
}}

/* One transition: {ok} when W is the following state, else why there is none. */
static int move(const word *s, int t, int alternative)
{{
  int st, place = place_of(s, t);
  if (place == 0 || (alternative && !place_choose[place]))
    return 0;
  load(s);
  T = t;
  CPU = thread_cpu[t];
  ALT = alternative;
  P = W + thread_word[t];
  MAY = place_choose[place] ? 2 : 1;
  NF = place_function[place];
  NS = place_segment[place];
  R[{rounds}] = 0;
  do
    st = NF(NS);
  while (st == {go});
  return st;
}}

/* Whether SPIN may make this move; keeps what raises a flag. */
static int can(const word *s, int t, int alternative)
{{
  int st, place = place_of(s, t);
  if (place == 0 || (thread_daemon[t] && at_rest(s, t) && is_quiet(s)))
    return 0;
  st = move(s, t, alternative);
  if (st >= {first_flag}) {{
    flagged[st - {first_flag}] = 1;
    flagged_moves++;
  }}
  return st == {ok};
}}

static void commit(word *s)
{{
  int i;
  for (i = 0; i < {words}; i++)
    s[i] = W[i] ^ I[i];
}}

static void judge(const word *s)
{{
  int st, i, j;
  load(s);
  T = 0;
  CPU = 0;
  P = W + thread_word[0];
  R[{rounds}] = 0;
  st = f{final}();
  if (st >= {first_flag}) {{
    flagged[st - {first_flag}] = 1;
    return;
  }}
  for (i = 0; i < outcome_count; i++) {{
    for (j = 0; j < {outcomes} && outcomes[i][j] == R[j]; j++)
      ;
    if (j == {outcomes})
      return;
  }}
  if (outcome_count == outcome_room)
    outcomes = realloc(outcomes, (outcome_room = 2 * outcome_room + 16) * sizeof *outcomes);
  for (j = 0; j < {outcomes}; j++)
    outcomes[outcome_count][j] = R[j];
  outcome_count++;
}}

/* Called once in each state: judges the end of a run, and looks for deadlocks. */
static int visit(const word *s)
{{
  static int known;
  int t, a, st;
  if (!known) {{
    known = 1;
    atexit(report);
  }}
  if (is_quiet(s)) {{
    judge(s);
    return 0;
  }}
#ifndef NODEADLOCK
  for (t = 0; t < {threads}; t++) {{
    int place = place_of(s, t), speculation = thread_daemon[t] && at_rest(s, t) && place_choose[place];
    for (a = 0; a < {alternatives}; a++) {{
      st = move(s, t, a);
      if (st >= {first_flag} || (st == {ok} && !speculation))
        return 0;
      if (!place_choose[place])
        break;
    }}
  }}
  flagged[{deadlock}] = 1;
#endif
  return 0;
}}
"""

_MODEL = """\
/* {title}
 *
 * The same states and transitions as `ptelab {command} --no-reduce`:
 *
 *   spin -a {file} && gcc -O3 -DSAFETY -DNOREDUCE -o pan pan.c{vector} && ./pan -m10000000
 *
 * "states, stored" is the number of states.  Moves that raise a flag lead to no state; pan prints them at its end.
 * With -DNODEADLOCK deadlocks are not looked for.  Never use -DHC: it loses states.
 */
{declarations}

c_state "word S[{words}]" "Global"

active proctype explore()
{{
end:
  do
  :: d_step {{ c_expr {{ VISIT }} -> skip }}
{moves}
  od
}}
"""

_WORDS = {16: "unsigned short", 32: "unsigned int", 64: "unsigned long"}


def promela(plan: Plan, file: str, command: str) -> str:
    """The model's text.  `command` is what checks the same with ptelab, `file` what this will be called."""
    packed = Packed(plan)
    coder = CCoder(plan, packed)
    state, constant = packed.initial()
    threads = plan.scenario.threads
    outcomes = len(plan.final.function.results)
    words = {
        "words": packed.words, "word_type": _WORDS[packed.word_bits],
        "constant_words": packed.constant_words, "initial": _list(state),
        "constant": _list(constant), "results": plan.rounds + 1, "rounds": plan.rounds, "outcomes": outcomes,
        "outcome_words": max(1, outcomes), "flags": len(plan.flags), "situations": max(1, len(plan.situations)),
        "situations_seen": _list([int(s in plan.start.reached) for s in plan.situations] or [0]),
        "flag_names": _strings(plan.flags), "situation_names": _strings(plan.situations or [""]),
        "place_function": ", ".join(["0", *(f"f{p.part.number}" for p in plan.places)]),
        "place_segment": _list([0, *(p.segment for p in plan.places)]),
        "place_choose": _list([0, *(int(p.choose) for p in plan.places)]),
        "thread_word": _list(packed.thread_word), "thread_cpu": _list([t.cpu for t in threads]),
        "thread_daemon": _list([int(t.daemon) for t in threads]),
        "thread_rest": _list([plan.rest(t) for t in range(len(threads))]),
        "place_mask": (1 << packed.place.width) - 1, "threads": len(threads), "ok": OK, "go": GO,
        "rest_calls": "".join(_rest_calls(plan, packed, t) for t in range(len(threads))), "huge": f"{ir.HUGE}L",
        "first_flag": FIRST_FLAG, "final": plan.final.number, "deadlock": plan.flags.index("deadlock"),
        "alternatives": max(plan.alternatives(t) for t in range(len(threads))),
    }  # fmt: skip
    functions = [coder.signature(p) for p in plan.parts.values()] + [coder.function(p) for p in plan.parts.values()]
    moves = [
        f"  :: d_step {{ c_expr {{ CAN_{t}_{a} }} -> c_code {{ commit(now.S); }} }}"
        for t in range(len(threads))
        for a in range(plan.alternatives(t))
    ]
    # SPIN takes no call in c_expr for an expression.
    macros = ["\\#define VISIT visit(now.S)"]
    macros += [
        f"\\#define CAN_{t}_{a} can(now.S, {t}, {a})" for t in range(len(threads)) for a in range(plan.alternatives(t))
    ]
    declarations = _blocks([_HEAD.format(**words), *functions, _TAIL.format(**words), "\n".join(macros)])
    size = packed.word_bits // 8 * packed.words + 64
    return _MODEL.format(
        title=plan.scenario.name, command=command, file=file, declarations=declarations, words=packed.words,
        moves="\n".join(moves), vector=f" -DVECTORSZ={-(-size // 1024) * 1024}" if size > 1024 else "",
    )  # fmt: skip


def _rest_calls(plan: Plan, packed: Packed, thread: int) -> str:
    text = ""
    for part, call in plan.rest_calls(thread):
        lane = packed.calls[part.name]
        word, shift = lane.at(0)
        at = f"thread_word[t] + {word}"
        text += f"  if (t == {thread} && ((s[{at}] ^ I[{at}]) >> {shift} & {(1 << lane.width) - 1}) != {call})\n"
        text += "    return 0;\n"
    return text


def _blocks(pieces: list[str]) -> str:
    """The pieces in several c_decl blocks, none longer than SPIN can read."""
    blocks = [""]
    for piece in pieces:
        if len(blocks[-1]) + len(piece) > _BLOCK_MAX:
            blocks.append("")
        blocks[-1] += piece + "\n"
    return "\n".join(f"c_decl {{\n{block}}}" for block in blocks)


_BLOCK_MAX = 50_000


def _list(numbers: list[int]) -> str:
    return ", ".join(str(n) for n in numbers)


def _strings(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)

/* DWARF 5 section 6.4 and the Linux Standard Base's ".eh_frame" and ".eh_frame_hdr". Only what it takes to find a return
 * address: the canonical frame address (CFA) and the two registers that x86-64 needs for the next step.
 *
 * The tables are mapped read-only from a file that the loader trusts with exceptions; still every read is bounded by the
 * mapping, and whatever is not understood ends the stack there. */
#include "shim/record/cfi.h"

#include <stddef.h>
#include <string.h>

enum { REG_FP = 6, REG_SP = 7, REG_RA = 16 };

struct cursor {
  uint64_t p, end;
  bool bad;
};

static inline bool has(struct cursor *c, uint64_t n)
{
  if (!c->bad && c->end - c->p >= n) return true;
  c->bad = true;
  return false;
}

static uint64_t fixed(struct cursor *c, unsigned size)
{
  uint64_t v = 0;
  if (!has(c, size)) return 0;
  memcpy(&v, (const void *)c->p, size); /* little-endian */
  c->p += size;
  return v;
}

static int64_t fixed_signed(struct cursor *c, unsigned size)
{
  uint64_t v = fixed(c, size);
  return size == 8 ? (int64_t)v : (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
}

static uint64_t uleb(struct cursor *c)
{
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    uint64_t byte = fixed(c, 1);
    v |= (byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return v;
}

static int64_t sleb(struct cursor *c)
{
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64;) {
    uint64_t byte = fixed(c, 1);
    v |= (byte & 0x7f) << shift;
    shift += 7;
    if (byte & 0x80) continue;
    if (shift < 64 && (byte & 0x40)) v |= ~0ull << shift;
    break;
  }
  return (int64_t)v;
}

static void skip(struct cursor *c, uint64_t n)
{
  if (has(c, n)) c->p += n;
}

/* A pointer in one of the encodings DW_EH_PE_*: absolute or relative to its own place. */
static uint64_t pointer(struct cursor *c, uint8_t encoding)
{
  uint64_t at = c->p, v;
  switch (encoding & 0x0f) {
    case 0x00: /* absptr */
    case 0x04:
    case 0x0c: v = fixed(c, 8); break;
    case 0x02: v = fixed(c, 2); break;
    case 0x03: v = fixed(c, 4); break;
    case 0x0a: v = (uint64_t)fixed_signed(c, 2); break;
    case 0x0b: v = (uint64_t)fixed_signed(c, 4); break;
    default: c->bad = true; return 0;
  }
  switch (encoding & 0xf0) {
    case 0x00: return v;
    case 0x10: return at + v; /* pcrel */
    default: c->bad = true; return 0;
  }
}

/* --- the index: sorted pairs (start of a function, its description), relative to the index -------------------------- */

static uint64_t find_fde(uint64_t pc, uint64_t end, uint64_t index)
{
  struct cursor c = {index, end, false};
  uint8_t version = (uint8_t)fixed(&c, 1), frame_encoding = (uint8_t)fixed(&c, 1);
  uint8_t count_encoding = (uint8_t)fixed(&c, 1), table_encoding = (uint8_t)fixed(&c, 1);
  if (version != 1 || table_encoding != 0x3b) return 0; /* datarel sdata4: what every linker writes */
  pointer(&c, frame_encoding);
  uint64_t count = pointer(&c, count_encoding), low = 0, high = count;
  if (c.bad || count == 0 || count > (c.end - c.p) / 8) return 0;
  const int32_t *table = (const void *)c.p;
  while (high - low > 1) {
    uint64_t middle = (low + high) / 2;
    if (index + (uint64_t)(int64_t)table[2 * middle] <= pc)
      low = middle;
    else
      high = middle;
  }
  return index + (uint64_t)(int64_t)table[2 * low + 1];
}

/* --- a description: its CIE (common part) and itself ------------------------------------------------------------------- */

struct program {
  struct cursor common, own;
  uint64_t code_align, start;
  int64_t data_align;
  bool signal;
};

/* The body of the entry at `at`: all but its length. */
static struct cursor entry(uint64_t at, uint64_t start, uint64_t end)
{
  struct cursor c = {at, end, at < start || at > end};
  uint64_t length = fixed(&c, 4);
  if (length == 0 || length >= 0xfffffff0u || !has(&c, length)) c.bad = true; /* terminator, 64-bit form */
  if (!c.bad) c.end = c.p + length;
  return c;
}

static bool read_program(struct program *g, uint64_t pc, uint64_t start, uint64_t end, uint64_t fde)
{
  struct cursor own = entry(fde, start, end);
  uint64_t back = own.p - fixed(&own, 4);
  struct cursor cie = entry(own.bad ? 0 : back, start, end);
  uint8_t encoding = 0;
  bool augmented = false;
  if (fixed(&cie, 4) != 0) return false;
  uint8_t version = (uint8_t)fixed(&cie, 1);
  if (cie.bad || (version != 1 && version != 3)) return false;
  char letters[8] = "";
  for (unsigned i = 0; i < sizeof letters; i++) {
    letters[i] = (char)fixed(&cie, 1);
    if (letters[i] == 0) break;
  }
  if (letters[sizeof letters - 1] != 0) return false;
  g->code_align = uleb(&cie);
  g->data_align = sleb(&cie);
  uint64_t ra = version == 1 ? fixed(&cie, 1) : uleb(&cie);
  if (ra != REG_RA) return false;
  g->signal = false;
  for (const char *l = letters; *l; l++) {
    switch (*l) {
      case 'z':
        uleb(&cie);
        augmented = true;
        break;
      case 'R': encoding = (uint8_t)fixed(&cie, 1); break;
      case 'L': fixed(&cie, 1); break;
      case 'P': {
        uint8_t personality = (uint8_t)fixed(&cie, 1);
        pointer(&cie, personality & 0x7f); /* 0x80: indirect, which is not followed */
        break;
      }
      case 'S': g->signal = true; break;
      default: return false;
    }
  }
  g->start = pointer(&own, encoding);
  uint64_t size = pointer(&own, encoding & 0x0f);
  if (augmented) skip(&own, uleb(&own));
  g->common = cie;
  g->own = own;
  return !own.bad && !cie.bad && pc - g->start < size;
}

/* --- the programs ------------------------------------------------------------------------------------------------------ */

struct reg {
  bool saved, lost; /* saved at CFA + offset; lost: undefined, or described in a way that is not followed */
  int64_t offset;
};

struct row {
  uint64_t cfa_reg; /* UINT64_MAX: an expression */
  bool aligned;     /* the expression is *(fp + cfa_offset) */
  int64_t cfa_offset;
  struct reg fp, ra;
};

static struct reg *tracked(struct row *row, uint64_t reg)
{
  static struct reg nobody;
  return reg == REG_FP ? &row->fp : reg == REG_RA ? &row->ra : &nobody;
}

static void set(struct row *row, uint64_t reg, struct reg to)
{
  if (reg == REG_FP) row->fp = to;
  if (reg == REG_RA) row->ra = to;
}

/* The one expression for a CFA that compilers write: DW_OP_breg6 offset, DW_OP_deref. (The one of a PLT never is a caller's.) */
static void aligned_frame(struct cursor *c, struct row *row)
{
  uint64_t length = uleb(c);
  row->cfa_reg = UINT64_MAX;
  row->aligned = false;
  if (!has(c, length)) return;
  struct cursor e = {c->p, c->p + length, false};
  c->p += length;
  if (fixed(&e, 1) != 0x76) return;
  row->cfa_offset = sleb(&e);
  row->aligned = fixed(&e, 1) == 0x06 && !e.bad && e.p == e.end;
}

/* Runs instructions until the row for `pc` is there. False when one is not known. */
static bool run(struct program *g, struct cursor *c, uint64_t pc, struct row *row, const struct row *initial)
{
  struct row kept[8];
  unsigned depth = 0;
  uint64_t at = g->start;
  while (c->p < c->end && !c->bad) {
    uint8_t op = (uint8_t)fixed(c, 1), low = op & 0x3f;
    uint64_t reg;
    switch (op & 0xc0) {
      case 0x40: /* advance_loc */
        at += low * g->code_align;
        if (at > pc) return true;
        continue;
      case 0x80: /* offset */
        set(row, low, (struct reg){.saved = true, .offset = (int64_t)uleb(c) * g->data_align});
        continue;
      case 0xc0: /* restore */
        if (initial) set(row, low, *tracked((struct row *)(uintptr_t)initial, low));
        continue;
      default: break;
    }
    switch (op) {
      case 0x00: break;
      case 0x02:
      case 0x03:
      case 0x04: /* advance_loc1, 2, 4 */
        at += fixed(c, op == 0x02 ? 1 : op == 0x03 ? 2 : 4) * g->code_align;
        if (at > pc) return true;
        break;
      case 0x05: /* offset_extended */
        reg = uleb(c);
        set(row, reg, (struct reg){.saved = true, .offset = (int64_t)uleb(c) * g->data_align});
        break;
      case 0x06: /* restore_extended */
        reg = uleb(c);
        if (initial) set(row, reg, *tracked((struct row *)(uintptr_t)initial, reg));
        break;
      case 0x07: set(row, uleb(c), (struct reg){.lost = true}); break; /* undefined */
      case 0x08: set(row, uleb(c), (struct reg){0}); break;            /* same_value */
      case 0x09:                                                       /* register */
        reg = uleb(c);
        uleb(c);
        set(row, reg, (struct reg){.lost = true});
        break;
      case 0x0a: /* remember_state */
        if (depth == sizeof kept / sizeof *kept) return false;
        kept[depth++] = *row;
        break;
      case 0x0b: /* restore_state */
        if (depth == 0) return false;
        *row = kept[--depth];
        break;
      case 0x0c: /* def_cfa */
        row->cfa_reg = uleb(c);
        row->cfa_offset = (int64_t)uleb(c);
        break;
      case 0x0d: row->cfa_reg = uleb(c); break;             /* def_cfa_register */
      case 0x0e: row->cfa_offset = (int64_t)uleb(c); break; /* def_cfa_offset */
      case 0x0f: /* def_cfa_expression */ aligned_frame(c, row); break;
      case 0x10: /* expression */
      case 0x16: /* val_expression */
        reg = uleb(c);
        skip(c, uleb(c));
        set(row, reg, (struct reg){.lost = true});
        break;
      case 0x11: /* offset_extended_sf */
        reg = uleb(c);
        set(row, reg, (struct reg){.saved = true, .offset = sleb(c) * g->data_align});
        break;
      case 0x12: /* def_cfa_sf */
        row->cfa_reg = uleb(c);
        row->cfa_offset = sleb(c) * g->data_align;
        break;
      case 0x13: row->cfa_offset = sleb(c) * g->data_align; break; /* def_cfa_offset_sf */
      case 0x2e: uleb(c); break;                                   /* GNU_args_size */
      default: return false;
    }
  }
  return !c->bad;
}

void p11t_cfi_rule(struct p11t_rule *rule, uint64_t pc, uint64_t start, uint64_t end, uint64_t index)
{
  struct program g;
  struct row row = {.cfa_reg = UINT64_MAX, .ra.lost = true};
  rule->kind = P11T_RULE_NONE;
  rule->cfa = 0;
  rule->fp = 0;
  if (index < start || index >= end) return;
  uint64_t fde = find_fde(pc, end, index);
  if (fde == 0 || !read_program(&g, pc, start, end, fde)) return;
  if (g.signal) { /* only __restore_rt: its program gives every register from the ucontext */
    rule->kind = P11T_RULE_SIGNAL;
    return;
  }
  if (!run(&g, &g.common, pc, &row, NULL)) return;
  struct row initial = row;
  if (!run(&g, &g.own, pc, &row, &initial)) return;
  if (row.ra.lost || !row.ra.saved || row.ra.offset != -8 || row.cfa_offset != (int32_t)row.cfa_offset) return;
  if (row.fp.saved && (row.fp.offset >= -8 || row.fp.offset < INT16_MIN)) return;
  rule->cfa = (int32_t)row.cfa_offset;
  rule->fp = row.fp.lost ? P11T_FP_LOST : row.fp.saved ? (int16_t)row.fp.offset : 0;
  if (row.cfa_reg == REG_SP)
    rule->kind = P11T_RULE_SP;
  else if (row.cfa_reg == REG_FP)
    rule->kind = P11T_RULE_FP;
  else if (row.aligned)
    rule->kind = P11T_RULE_ALIGNED;
}

/* Record by record: a call's body is decoded, its values pass the policy, and it is written again. What cannot be decoded
 * cannot be judged and goes: a call that is cut keeps the parameters before. */
#include "decoder/write/redact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/write/body.h"
#include "decoder/write/ends.h"
#include "decoder/write/outputs.h"
#include "decoder/write/refill.h"

/* A call whose LEAVE is to come: what it takes to decode that. */
struct pending {
  struct open_call call;
  uint8_t *late[MAX_PARAMS]; /* values of templates that come with LEAVE */
  struct pending *next;
};

struct redact {
  struct redact_options *options;
  struct reader *r;
  struct pending *open[OPEN_BUCKETS], *spare;
  size_t opens;
  uint8_t *body;
  size_t room;
  uint64_t unknown; /* records that nobody here can judge */
};

static size_t bucket(uint64_t number)
{
  return (size_t)(number % OPEN_BUCKETS);
}

static void release(struct redact *d, struct pending *p)
{
  for (unsigned i = 0; i < MAX_PARAMS; i++) free(p->late[i]);
  arena_reset(&p->call.arena);
  p->next = d->spare;
  d->spare = p;
}

static struct pending *take(struct redact *d, uint64_t number)
{
  struct pending **at = &d->open[bucket(number)], *p;
  while (*at != NULL && (*at)->call.call.number != number) at = &(*at)->next;
  p = *at;
  if (p == NULL) return NULL;
  *at = p->next;
  d->opens--;
  return p;
}

/* Calls that never end stay behind; of a trace with more than any process has threads they go. */
static void forget_all(struct redact *d)
{
  for (size_t i = 0; i < OPEN_BUCKETS; i++) {
    while (d->open[i] != NULL) release(d, take(d, d->open[i]->call.call.number));
  }
}

static struct pending *begin(struct redact *d, const struct record *record)
{
  struct pending *p = d->spare;
  if (p != NULL) d->spare = p->next;
  if (p == NULL) p = read_zalloc(sizeof *p);
  struct call *call = &p->call.call;
  memset(call, 0, sizeof *call);
  memset(p->late, 0, sizeof p->late);
  p->next = NULL;
  call->number = record->number;
  call->function = (uint16_t)record->function;
  call->info = record->function < d->r->functions ? &d->r->function[record->function] : NULL;
  call->known = call->info != NULL ? d->r->known[record->function] : -1;
  return p;
}

/* Which values are not there yet. */
static void note_late(struct pending *p)
{
  const struct call *call = &p->call.call;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *in = &call->arg[i].in;
    if (call->info->param[i].kind != P11_K_TEMPLATE || in->what != VALUE_TEMPLATE || in->count == 0) continue;
    for (size_t n = 0; n < in->count; n++) {
      if (in->item[n].count == 0 || in->item[n].item->form != P11T_V_DEFERRED) continue;
      if (p->late[i] == NULL) p->late[i] = read_zalloc(in->count / 8 + 1);
      p->late[i][n / 8] |= (uint8_t)(1u << n % 8);
    }
  }
}

/* Those of them that LEAVE brought. */
static void settle_late(struct pending *p)
{
  const struct call *call = &p->call.call;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *in = &call->arg[i].in;
    for (size_t n = 0; p->late[i] != NULL && n < in->count; n++) {
      const bool came = in->item[n].count > 0 && in->item[n].item->form != P11T_V_DEFERRED;
      if (!came) p->late[i][n / 8] &= (uint8_t) ~(1u << n % 8);
    }
  }
}

/* A tag is longer than what it stands for may have been. */
static struct put room_for(struct redact *d, size_t length)
{
  const size_t wanted = length * 12 + 4096;
  if (d->room < wanted) {
    free(d->body);
    d->body = read_zalloc(wanted);
    d->room = wanted;
  }
  return (struct put){d->body, d->body + d->room, false};
}

static void use(const struct redact *d, struct record *record, const struct put *put)
{
  record->body = d->body;
  record->length = put->full ? 0 : (size_t)(put->at - d->body);
  if (put->full) record->flags |= P11T_CUT;
}

/* What is lost is said, unless the recorder itself said that the record is cut. */
static void cut(struct redact *d, struct record *record, const struct call *call)
{
  if ((record->flags & P11T_CUT) == 0) {
    reader_damage(d->r, 0, "record %" PRIu64 " (%s) does not hold the parameters that it should", record->number,
                  call->info->name);
  }
  record->flags |= P11T_CUT;
}

static void enter(struct redact *d, struct record *record)
{
  struct put put = room_for(d, record->length);
  struct pending *p = begin(d, record);
  struct call *call = &p->call.call;
  struct cursor body = cursor_of(record->body, record->length);
  if (call->info == NULL) {
    d->unknown++;
    record->flags |= P11T_CUT;
    use(d, record, &put);
    release(d, p);
    return;
  }
  if (!value_enter(d->r, &p->call, &body)) {
    unsigned last = 0; /* it ends inside the last parameter of which something is known */
    for (unsigned i = 0; i < call->info->arity; i++) {
      if (call->arg[i].in.what != VALUE_NONE) last = i;
    }
    for (unsigned i = last; i < call->info->arity; i++) call->arg[i].in = (struct value){0};
    cut(d, record, call);
  }
  note_late(p);
  strict_enter(&d->options->strict, call);
  body_enter(&put, &d->r->p, call);
  use(d, record, &put);
  if (d->opens >= MAX_OPEN) forget_all(d);
  p->next = d->open[bucket(call->number)];
  d->open[bucket(call->number)] = p;
  d->opens++;
}

static void leave(struct redact *d, struct record *record)
{
  struct put put = room_for(d, record->length);
  struct pending *p = take(d, record->aux);
  if (p != NULL && p->call.call.function != record->function) {
    release(d, p);
    p = NULL;
  }
  if (p == NULL) p = begin(d, record);
  struct call *call = &p->call.call;
  struct cursor body = cursor_of(record->body, record->length);
  call->state = call->number == record->number ? CALL_HEADLESS : CALL_DONE;
  call->rv = get_n(&body);
  if (call->info == NULL) {
    if (!body.bad) put_n(&put, call->rv);
    record->flags |= P11T_CUT;
    d->unknown++;
  } else if (body.bad) {
    cut(d, record, call);
  } else if (!value_leave(d->r, &p->call, &body)) {
    put_n(&put, call->rv);
    cut(d, record, call);
  } else {
    settle_late(p);
    strict_leave(&d->options->strict, call);
    body_leave(&put, &d->r->p, call, (const uint8_t *const *)p->late);
  }
  use(d, record, &put);
  release(d, p);
}

static size_t base_at(const uint8_t *path, size_t length)
{
  const uint8_t *slash = length > 0 ? memrchr(path, '/', length) : NULL;
  return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* S of a path: its last part. */
static void put_base(struct put *put, struct cursor *c)
{
  size_t length;
  const uint8_t *path = get_s(c, &length);
  const size_t from = base_at(path, length);
  put_s(put, path != NULL ? path + from : NULL, length - from);
}

static void put_rest(struct put *put, struct cursor *c, size_t length)
{
  const uint8_t *bytes = get_bytes(c, length);
  if (bytes != NULL) put_bytes(put, bytes, length);
}

/* As it is: N, U and S, without a look inside. */
static void copy_n(struct put *put, struct cursor *c)
{
  put_n(put, get_n(c));
}

static void copy_s(struct put *put, struct cursor *c)
{
  size_t length;
  const uint8_t *bytes = get_s(c, &length);
  put_s(put, bytes, length);
}

static bool module(struct redact *d, struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  struct put put = room_for(d, record->length);
  copy_n(&put, &c);
  put_base(&put, &c);
  copy_s(&put, &c); /* build id */
  copy_n(&put, &c); /* load address */
  copy_n(&put, &c); /* how */
  put_base(&put, &c);
  use(d, record, &put);
  return !c.bad;
}

static bool object(struct redact *d, struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  struct put put = room_for(d, record->length);
  for (int i = 0; i < 3; i++) copy_n(&put, &c); /* id, address, size */
  copy_s(&put, &c);
  put_base(&put, &c);
  use(d, record, &put);
  return !c.bad;
}

/* A thread without a name, a mark without its text. */
static bool thread(struct redact *d, struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  struct put put = room_for(d, record->length);
  size_t length;
  copy_n(&put, &c);
  get_s(&c, &length);
  put_s(&put, NULL, 0);
  put_rest(&put, &c, cursor_left(&c)); /* in TABLES: slot and generation */
  use(d, record, &put);
  return !c.bad;
}

static bool change(void *user, struct record *record, bool whole)
{
  struct redact *d = user;
  const unsigned drop = d->options->strict.drop;
  if (!whole) record->flags |= P11T_CUT;
  switch (record->kind) {
    case P11T_ENTER: enter(d, record); return true;
    case P11T_LEAVE: leave(d, record); return true;
    case P11T_MODULE: return (drop & DROP_PATHS) == 0 || module(d, record);
    case P11T_OBJECT: return (drop & DROP_PATHS) == 0 || object(d, record);
    case P11T_THREAD: return (drop & DROP_THREADS) == 0 || thread(d, record);
    case P11T_MARK:
    case P11T_DEVICE:
      if ((drop & DROP_MARKS) != 0) {
        struct put put = room_for(d, 0);
        put_s(&put, NULL, 0);
        use(d, record, &put);
      }
      return whole;
    case P11T_UNLOAD:
    case P11T_LIST:
    case P11T_GAP:
    case P11T_SUSPEND:
    case P11T_CALLBACK:
    case P11T_PROCESS:
    case P11T_TIME: return whole;
    case P11T_FORK:
    case P11T_CHECKPOINT:
    case P11T_ATTACHED:
      record->length = 0; /* the format has no body for them */
      return true;
    default: d->unknown++; return false;
  }
}

/* Options in force, without those that name places. */
static char *without_paths(const char *options)
{
  char *text = read_strdup(options), *to = text;
  for (const char *line = options, *end; *line != '\0'; line = end) {
    end = strchrnul(line, '\n');
    if (*end == '\n') end++;
    const size_t n = (size_t)(end - line);
    if (memchr(line, '/', n) != NULL) continue;
    memcpy(to, line, n);
    to += n;
  }
  *to = '\0';
  return text;
}

/* How the trace came about, without the options of that: "p11trace 1.0 trim -e label=..." says what is to go. */
static void verb_of(const char *derived, char to[64])
{
  const char *at = derived;
  for (int word = 0; word < 3; word++) {
    at += strspn(at, " ");
    at += strcspn(at, " ,;");
  }
  snprintf(to, 64, "%.*s", (int)(at - derived), derived);
}

static void put_head(struct redact *d, struct out *out)
{
  struct strict *s = &d->options->strict;
  const struct process *p = &d->r->p;
  struct head_change change[8];
  size_t n = 0;
  const char *capture = s->meta || strcmp(p->capture, "meta") == 0          ? "meta"
                        : s->keep_sealed && strcmp(p->capture, "full") == 0 ? "full"
                                                                            : "safe";
  char *options = NULL, before[64];
  verb_of(p->derived != NULL ? p->derived : "", before);
  change[n++] = (struct head_change){HEAD_UNKNOWN, NULL, 0};
  change[n++] = (struct head_change){P11T_HEAD_CAPTURE, capture, strlen(capture)};
  if (!s->keep_sealed || s->meta) change[n++] = (struct head_change){P11T_HEAD_SEAL_KEY, NULL, 0};
  if (s->drop & DROP_CMDLINE) change[n++] = (struct head_change){P11T_HEAD_CMDLINE, NULL, 0};
  if (s->drop & DROP_PATHS) {
    const char *base = p->executable + base_at((const uint8_t *)p->executable, strlen(p->executable));
    options = without_paths(p->options);
    change[n++] = (struct head_change){P11T_HEAD_EXECUTABLE, base, strlen(base)};
    change[n++] = (struct head_change){P11T_HEAD_OPTIONS, options, strlen(options)};
  }
  ends_derived(d->r, out, d->options->how, before, P11T_COMPAT_CLEAR, change, n);
  free(options);
}

static void write_process(void *user, struct reader *r, struct out *out)
{
  struct redact *d = user;
  const struct refill how = {.verb = "redact", .user = d, .change = change};
  d->r = r;
  d->unknown = 0;
  put_head(d, out);
  ends_schema(r, out);
  refill_all(&how, r, out);
  ends_end(r, out);
  forget_all(d);
  if (d->unknown > 0) {
    reader_damage(r, 0,
                  "%" PRIu64 " records are of a newer recorder: what they hold cannot be judged, and was left out",
                  d->unknown);
  }
}

int redact_paths(const char *const *paths, size_t count, struct redact_options *options)
{
  struct redact d = {.options = options};
  const struct outputs o = {.verb = "redact", .output = options->output, .user = &d, .write = write_process};
  if (!trace_again(paths, count)) return EXIT_COULD_NOT;
  struct trace_set *set = trace_open(paths, count);
  if (set == NULL) return EXIT_COULD_NOT;
  strict_begin(&options->strict);
  int status = outputs_write(&o, set);
  strict_end(&options->strict);
  for (struct pending *p; (p = d.spare) != NULL; free(p)) {
    d.spare = p->next;
    arena_free(&p->call.arena);
  }
  free(d.body);
  const int damage = arguments_close("redact", set);
  return status == EXIT_FINE ? damage : status;
}

#include "decoder/write/import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/write/outputs.h"
#include "decoder/write/put.h"
#include "shim/trace/version.h"

enum { MAX_PROCESSES = 65536, COMPATIBLE_MASK = 8 + 32, TABLE_ROOM = 65536 };

bool import_fail(struct import *im, const char *format, ...)
{
  va_list args;
  if (im->error[0] != '\0') return false;
  va_start(args, format);
  vsnprintf(im->error, sizeof im->error, format, args);
  va_end(args);
  return false;
}

/* Where the process's file goes, and how many there are to be. */
struct place {
  const char *output;
  size_t expected;
};

static void path_of(const struct place *place, const struct imported *p, char path[4096])
{
  if (place->expected <= 1) {
    snprintf(path, 4096, "%.4000s", place->output);
  } else {
    snprintf(path, 4096, "%.3000s/%.500s", place->output, p->name);
  }
}

/* A name for the file in a folder that no other process has. */
static void name_process(struct import *im, struct imported *p, size_t index, const char *path)
{
  const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
  const size_t n = strlen(base);
  bool taken = n < 6 || n > 200 || strcmp(base + n - 5, ".p11t") != 0;
  for (size_t i = 0; i < im->processes && !taken; i++) {
    taken = im->process[i] != NULL && strcmp(im->process[i]->name, base) == 0;
  }
  if (taken) {
    snprintf(p->name, sizeof p->name, "process-%zu.p11t", index);
  } else {
    snprintf(p->name, sizeof p->name, "%s", base);
  }
}

static uint8_t *text_field(uint8_t *at, uint16_t tag, const char *text)
{
  const size_t n = strlen(text) < 4096 ? strlen(text) : 4096;
  return n == 0 ? at : out_field(at, tag, text, n);
}

static bool decimal(struct import *im, const json_t *line, const char *key, uint64_t *value)
{
  const json_t *json = json_object_get(line, key);
  const char *text = json_string_value(json);
  char *end = NULL;
  if (json == NULL) return true;
  if (text == NULL) return import_number(im, json, key, value);
  *value = strtoull(text, &end, 10);
  return (text[0] >= '0' && text[0] <= '9' && *end == '\0') || import_fail(im, "%s: expected a string of digits", key);
}

static bool put_head(struct import *im, struct imported *p, const json_t *line)
{
  uint8_t head[32768] = {0}, id[16], arch[80], clock[9] = {P11T_CLOCK_MONOTONIC}, *at = head + P11T_HEAD_FIXED;
  char derived[512];
  const uint16_t version[2] = {P11T_MAJOR, P11T_MINOR};
  const uint64_t compatible = P11T_COMPAT_DERIVED, rate = 1000000000;
  struct p11t_clock_pair pair = {0};
  const char *machine = import_string(im, line, "machine"), *from = import_string(im, line, "trace_id");
  const uint32_t pid = (uint32_t)import_key(im, line, "pid", 1),
                 parent = (uint32_t)import_key(im, line, "parent_pid", 0);
  const uint64_t bits = import_key(im, line, "word_bits", 64);
  if (bits != 32 && bits != 64) return import_fail(im, "word_bits: expected 32 or 64");
  pair.monotonic = 1;
  if (!decimal(im, line, "first_monotonic", &pair.monotonic) || !decimal(im, line, "first_realtime", &pair.realtime))
    return false;
  pair.ticks = pair.boottime = pair.monotonic;
  if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) return import_fail(im, "this machine gives no random bytes");
  memcpy(head, P11T_HEAD_MAGIC, 8);
  memcpy(head + 8, version, 4);
  memcpy(head + COMPATIBLE_MASK - 8, &compatible, 8);
  memcpy(clock + 1, &rate, 8);
  arch[0] = (uint8_t)bits;
  arch[1] = 0;
  const size_t machine_size = strlen(machine) < 64 ? strlen(machine) : 64;
  memcpy(arch + 2, machine, machine_size);
  snprintf(derived, sizeof derived, "p11trace " P11T_VERSION " import%s%.64s", from[0] != '\0' ? ", from trace " : "",
           from);
  at = out_field(at, P11T_HEAD_TRACE_ID, id, sizeof id);
  if (parent != 0) at = out_field(at, P11T_HEAD_PARENT_PID, &parent, 4);
  at = text_field(at, P11T_HEAD_EXECUTABLE, import_string(im, line, "executable"));
  at = text_field(at, P11T_HEAD_PROGRAM, import_string(im, line, "program"));
  at = out_field(at, P11T_HEAD_PID, &pid, 4);
  at = out_field(at, P11T_HEAD_ARCH, arch, 2 + machine_size);
  at = out_field(at, P11T_HEAD_CLOCK, clock, sizeof clock);
  at = out_field(at, P11T_HEAD_CLOCK_PAIR, &pair, sizeof pair);
  at = text_field(at, P11T_HEAD_CAPTURE, import_string(im, line, "capture"));
  at = text_field(at, P11T_HEAD_RECORDER, import_string(im, line, "recorder"));
  at = text_field(at, P11T_HEAD_DERIVED, derived);
  if (im->error[0] != '\0') return false;
  out_skippable(&p->out, P11T_SKIP_HEAD, head, (size_t)(at - head));
  out_schema(&p->out);
  p->reader.p.pid = pid;
  p->reader.p.word_bits = (uint8_t)bits;
  p->first = p->time = pair.monotonic;
  return true;
}

/* Begins the file of process `index`, as its line says, or as an empty one does. */
static bool begin_process(struct import *im, const struct place *place, uint64_t index, const json_t *line)
{
  char path[4096];
  if (index >= MAX_PROCESSES || (index > 0 && index >= place->expected))
    return import_fail(im,
                       "process: %" PRIu64
                       ": the file begins with {\"type\":\"trace\",\"version\":1,\"processes\":N}, and "
                       "processes count from 0",
                       index);
  if (index >= im->processes) {
    im->process = read_realloc(im->process, (index + 1) * sizeof(struct imported *));
    while (im->processes <= index) im->process[im->processes++] = NULL;
  }
  if (im->process[index] != NULL)
    return import_fail(im, "process %" PRIu64 " is told of twice, or after its first call", index);
  struct imported *p = read_zalloc(sizeof *p);
  name_process(im, p, (size_t)index, import_string(im, line, "path"));
  im->process[index] = p;
  path_of(place, p, path);
  p->begun = out_begin(&p->out, path);
  return p->begun ? put_head(im, p, line) : import_fail(im, "its file cannot be written");
}

static struct imported *process_of(struct import *im, const struct place *place, const json_t *line)
{
  const uint64_t index = import_key(im, line, "process", 0);
  if (im->error[0] != '\0') return NULL;
  if (index < im->processes && im->process[index] != NULL) return im->process[index];
  if (index == 0 || (im->processes > 0 && im->process[0] != NULL)) {
    return begin_process(im, place, index, json_object_get(line, "none")) ? im->process[index] : NULL;
  }
  import_fail(im, "process: %" PRIu64 " comes before process 0, which times count from", index);
  return NULL;
}

static bool module(struct import *im, const json_t *line, struct put *put)
{
  static const char *const how[] = {"unknown", "chained", "preloaded", "audited"};
  const char *word = json_string_value(json_object_get(line, "how"));
  size_t n, way = 0;
  for (size_t i = 0; word != NULL && i < 4; i++) {
    if (strcmp(word, how[i]) == 0) way = i;
  }
  put_n(put, import_key(im, line, "module", 1));
  const uint8_t *text = import_text(im, line, "path", &n);
  put_s(put, text, n);
  text = import_text(im, line, "build_id", &n);
  put_s(put, text, n);
  put_u(put, import_key(im, line, "base", 0));
  put_n(put, way);
  text = import_text(im, line, "stub", &n);
  put_s(put, text, n);
  return im->error[0] == '\0';
}

static bool interface_list(struct import *im, const json_t *line, struct put *put)
{
  uint8_t nulls[8192] = {0};
  size_t n, i, top = 0;
  uint64_t version = 0;
  json_t *item;
  const json_t *text = json_object_get(line, "version");
  put_n(put, import_key(im, line, "module", 1));
  const uint8_t *name = import_text(im, line, "name", &n);
  put_s(put, name, n);
  if (text == NULL || !import_version(im, text, "version", &version))
    return import_fail(im, "version: expected \"2.40\"");
  put_u8(put, (uint8_t)(version >> 8));
  put_u8(put, (uint8_t)version);
  put_u(put, import_key(im, line, "flags", 0));
  const uint64_t count = import_key(im, line, "functions", 0);
  put_n(put, count);
  json_array_foreach(json_object_get(line, "null"), i, item)
  {
    uint64_t at = 0;
    if (!import_number(im, item, "null", &at) || at >= sizeof nulls * 8)
      return import_fail(im, "null: expected indices");
    nulls[at / 8] |= (uint8_t)(1u << at % 8);
    if (at / 8 + 1 > top) top = (size_t)at / 8 + 1;
  }
  put_s(put, nulls, top);
  return im->error[0] == '\0';
}

static bool marker(struct import *im, const json_t *line, struct put *put, uint8_t *kind)
{
  const char *text = json_string_value(json_object_get(line, "body"));
  const uint64_t given = import_key(im, line, "kind", 0);
  const size_t n = text == NULL ? 0 : strlen(text);
  if (given < P11T_FORK || given > P11T_PROCESS)
    return import_fail(im, "kind: expected the number of a record, from 5 to 13, that FORMAT.md has");
  *kind = (uint8_t)given;
  for (size_t i = 0; i + 1 < n; i += 2) {
    unsigned byte;
    if (sscanf(text + i, "%2x", &byte) != 1) return import_fail(im, "body: expected pairs of hexadecimal digits");
    put_u8(put, (uint8_t)byte);
  }
  return true;
}

/* Records that are no calls. */
static bool other(struct import *im, struct imported *p, const json_t *line, const char *type)
{
  uint8_t *body = arena_alloc(&im->arena, TABLE_ROOM);
  struct put put = {body, body + TABLE_ROOM, false};
  struct record record = {.number = import_key(im, line, "number", p->number + 1), .time = p->time};
  const json_t *time = json_object_get(line, "time");
  bool fine;
  if (json_is_integer(time)) record.time = im->process[0]->first + (uint64_t)json_integer_value(time);
  if (strcmp(type, "module") == 0) {
    record.kind = P11T_MODULE;
    fine = module(im, line, &put);
  } else if (strcmp(type, "list") == 0) {
    record.kind = P11T_LIST;
    fine = interface_list(im, line, &put);
  } else if (strcmp(type, "unload") == 0) {
    record.kind = P11T_UNLOAD;
    put_n(&put, import_key(im, line, "module", 1));
    fine = im->error[0] == '\0';
  } else {
    fine = marker(im, line, &put, &record.kind);
  }
  if (put.full) return import_fail(im, "longer than such a record may be");
  record.body = body;
  record.length = (size_t)(put.at - body);
  return fine && import_record(im, p, 0, "", &record, NULL, 0, false);
}

static bool end(struct import *im, struct imported *p, const json_t *line)
{
  const char *verdict = json_string_value(json_object_get(line, "verdict"));
  p->dropped = import_key(im, line, "dropped", 0);
  p->cut = import_key(im, line, "cut", 0);
  p->passed = import_key(im, line, "passed", 0);
  p->reason = verdict == NULL || strcmp(verdict, "complete") == 0 ? "exit"
              : strcmp(verdict, "recording") == 0                 ? "snapshot"
                                                                  : "recovered";
  return im->error[0] == '\0';
}

static bool one_line(struct import *im, struct place *place, const json_t *line)
{
  const char *type = json_string_value(json_object_get(line, "type"));
  if (!json_is_object(line) || type == NULL)
    return import_fail(
        im, "expected an object with \"type\", such as {\"type\":\"call\",\"fn\":\"C_Sign\",\"rv\":\"CKR_OK\"}");
  if (strcmp(type, "trace") == 0) {
    const uint64_t version = import_key(im, line, "version", 1), processes = import_key(im, line, "processes", 1);
    if (version != 1) return import_fail(im, "version: %" PRIu64 ": this p11trace reads version 1", version);
    if (im->processes > 0) return import_fail(im, "type \"trace\": it is the first line or none");
    place->expected = processes <= MAX_PROCESSES ? (size_t)processes : MAX_PROCESSES;
    if (place->expected > 1 && mkdir(place->output, 0700) != 0)
      return import_fail(im, "%s: %s", place->output, strerror(errno));
    return im->error[0] == '\0';
  }
  if (strcmp(type, "process") == 0) {
    const uint64_t index = import_key(im, line, "process", 0);
    return im->error[0] == '\0' && begin_process(im, place, index, line);
  }
  struct imported *p = process_of(im, place, line);
  if (p == NULL) return false;
  if (strcmp(type, "call") == 0) return import_call(im, p, line);
  if (strcmp(type, "end") == 0) return end(im, p, line);
  if (strcmp(type, "module") == 0 || strcmp(type, "list") == 0 || strcmp(type, "unload") == 0 ||
      strcmp(type, "marker") == 0)
    return other(im, p, line, type);
  return import_fail(im, "type \"%.40s\": expected trace, process, call, module, list, unload, marker or end", type);
}

static void put_end(struct imported *p)
{
  uint8_t content[512] = {0}, *at = content + INFO_SIZE;
  const char *reason = p->reason != NULL ? p->reason : "exit";
  import_flush(p);
  at = out_field(at, P11T_END_RECORDS, &p->out.records, 8);
  at = out_field(at, P11T_END_DROPPED, &p->dropped, 8);
  at = out_field(at, P11T_END_CUT, &p->cut, 8);
  at = out_field(at, P11T_END_LAST, &p->number, 8);
  at = out_field(at, P11T_END_PASSED, &p->passed, 8);
  at = out_field(at, P11T_END_REASON, reason, strlen(reason));
  out_frame(&p->out, (struct p11t_info){.kind = P11T_FRAME_END}, content, (size_t)(at - content));
  out_seek_table(&p->out);
  /* Only now it is known whether payload in clear is inside. */
  const uint64_t compatible = P11T_COMPAT_DERIVED | (p->clear ? P11T_COMPAT_CLEAR : 0);
  if (p->out.error == 0 && pwrite(p->out.fd, &compatible, 8, COMPATIBLE_MASK) != 8) p->out.error = EIO;
}

static bool finish(struct import *im, const struct place *place)
{
  char path[4096];
  bool fine = true;
  size_t done = 0;
  for (; done < im->processes && fine; done++) {
    struct imported *p = im->process[done];
    if (p == NULL) continue;
    put_end(p);
    path_of(place, p, path);
    fine = out_finish(&p->out, path, false);
  }
  for (size_t i = 0; !fine && i + 1 < done; i++) {
    if (im->process[i] == NULL) continue;
    path_of(place, im->process[i], path);
    unlink(path);
  }
  return fine;
}

static void free_process(struct imported *p)
{
  if (p == NULL) return;
  if (p->begun) out_drop(&p->out);
  for (size_t i = 0; i < p->slots; i++) raw_free(&p->slot[i].raw);
  free(p->slot);
  free(p->unwound);
  free(p);
}

static bool read_lines(struct import *im, struct place *place, FILE *file)
{
  char *text = NULL;
  size_t room = 0;
  struct stat st;
  const uint64_t size = fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
  uint64_t bytes = 0;
  bool fine = true;
  for (ssize_t n; fine && !outputs_stop() && (n = getline(&text, &room, file)) >= 0;) {
    im->line++;
    bytes += (uint64_t)n;
    if (im->line % 1024 == 0) outputs_progress("import", bytes, size);
    if (strspn(text, " \t\r\n") == (size_t)n) continue;
    if (im->line == 1 && n >= 4 && memcmp(text, "P*M\x18", 4) == 0) { /* the magic of HEAD */
      fine = import_fail(im, "this is a trace, and import takes what `p11trace dump --json` prints of one");
      break;
    }
    json_error_t error;
    json_t *line = json_loadb(text, (size_t)n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    fine = line != NULL ? one_line(im, place, line)
                        : import_fail(im, "not JSON, at character %d: %s", error.position, error.text);
    json_decref(line);
    arena_reset(&im->arena);
  }
  free(text);
  if (outputs_stop()) return false;
  if (fine && ferror(file)) return import_fail(im, "cannot be read: %s", strerror(errno));
  return fine;
}

int import_lines(const char *path, const char *output, struct import_result *result)
{
  struct import im = {.path = strcmp(path, "-") == 0 ? "standard input" : path};
  struct place place = {output, 1};
  struct stat st;
  bool fine = false, ours = false;
  FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
  if (file == NULL) {
    fprintf(stderr, "p11trace import: %s: %s\n", path, strerror(errno));
    return EXIT_COULD_NOT;
  }
  if (lstat(output, &st) == 0) {
    fprintf(stderr, "p11trace import: %s: %s: nothing is overwritten, name another\n", output, strerror(EEXIST));
    goto out;
  }
  outputs_listen();
  strict_begin(&im.strict);
  fine = read_lines(&im, &place, file);
  outputs_progress_end();
  ours = place.expected > 1;
  if (fine && im.processes == 0) fine = import_fail(&im, "nothing is in it");
  if (im.error[0] != '\0' && im.line == 0) fprintf(stderr, "p11trace import: %s: %s\n", im.path, im.error);
  if (im.error[0] != '\0' && im.line > 0)
    fprintf(stderr, "p11trace import: %s:%" PRIu64 ": %s\n", im.path, im.line, im.error);
  fine = fine && finish(&im, &place);
  *result = (struct import_result){.lines = im.line, .secrets = im.strict.taken, .processes = im.processes};
  for (size_t i = 0; i < im.processes; i++) {
    if (im.process[i] != NULL) result->calls += im.process[i]->calls;
    free_process(im.process[i]);
  }
  if (!fine && ours) rmdir(output);
  strict_end(&im.strict);
out:
  free(im.process);
  arena_free(&im.arena);
  if (file != stdin) fclose(file);
  outputs_stopped();
  return fine ? EXIT_FINE : EXIT_COULD_NOT;
}

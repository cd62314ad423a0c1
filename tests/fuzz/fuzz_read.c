/* The reader on arbitrary bytes: everything that an event points to is looked at.
 *
 * With clang -fsanitize=fuzzer this is a libFuzzer target; else `fuzz_read FILE...` runs it on files. An input is a byte
 * that says what follows:
 *
 *   0  a trace file as it is; its first bytes are put right, so that it is taken for one
 *   1  u32 length, that many bytes of trace, then the bytes of its live file
 *   2  contents of frames, each u16 length, u8 kind, u8 slot, bytes: they are compressed and sealed here, so that what is
 *      behind checksum and hash is reached too */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/trace.h"
#include "shim/trace/frame.h"

static char folder[64], trace_path[96], live_path[96];
static volatile uint64_t sink;

static void remove_files(void)
{
  unlink(trace_path);
  unlink(live_path);
  rmdir(folder);
}

static void prepare(void)
{
  if (folder[0] != '\0') return;
  snprintf(folder, sizeof folder, "/dev/shm/p11t-fuzz-XXXXXX");
  if (mkdtemp(folder) == NULL) abort();
  snprintf(trace_path, sizeof trace_path, "%s/t.p11t", folder);
  snprintf(live_path, sizeof live_path, "%s/t.p11t.live", folder);
  atexit(remove_files);
}

static void save(const char *path, const void *bytes, size_t size)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
  close(fd);
}

static void look_text(const char *text)
{
  if (text != NULL) sink += strlen(text);
}

static void look_value(const struct value *v, int depth)
{
  if (depth > 40) abort(); /* the reader bounds nesting */
  for (size_t i = 0; i < v->kept && v->bytes != NULL; i++) sink += v->bytes[i];
  if (v->what == VALUE_BYTES && v->form == P11T_V_SEALED && v->sealed != NULL) {
    for (size_t i = 0; i < v->sealed->kept + P11T_SEAL_MAC; i++) sink += v->sealed->box[i];
    if (v->sealed->kept > v->length || v->count > 0) abort();
  }
  if (v->count > 0 && v->item == NULL) abort();
  for (size_t i = 0; i < v->count; i++) look_value(&v->item[i], depth + 1);
}

static void look_call(const struct process *process, const struct call *call)
{
  char text[256];
  look_text(call->thread);
  look_text(call->info->name);
  for (unsigned i = 0; i < call->info->arity; i++) {
    look_text(call->info->param[i].name);
    look_text(call->info->param[i].type);
    look_value(&call->arg[i].in, 0);
    look_value(&call->arg[i].out, 0);
  }
  for (unsigned i = 0; i < call->depth; i++) trace_address(process, call->stack[i], text, sizeof text);
  if (trace_module(process, call->module) != NULL) look_text(trace_module(process, call->module)->path);
}

/* Reads what lies in the two files; 0, or 2 when bytes are lost. */
static int read_all(void)
{
  const char *paths[] = {trace_path};
  struct event e;
  struct trace_set *set = trace_open(paths, 1);
  if (set == NULL) return 2;
  while (trace_next(set, &e) == 0) {
    if (e.process == NULL) abort();
    if (e.call != NULL) look_call(e.process, e.call);
    if (e.module != NULL) look_text(e.module->path);
    if (e.type == EVENT_LIST) {
      look_text(e.list.name);
      for (size_t i = 0; i < e.list.null_bytes; i++) sink += e.list.nulls[i];
    }
    for (size_t i = 0; e.type == EVENT_MARKER && i < e.marker.length; i++) sink += e.marker.body[i];
  }
  struct process *const *process;
  size_t n = trace_processes(set, &process);
  for (size_t i = 0; i < n; i++) {
    look_text(process[i]->damage);
    look_text(process[i]->executable);
    look_text(process[i]->options);
    look_text(process[i]->ended_inside);
  }
  int status = trace_damaged(set) ? 2 : 0;
  trace_close(set);
  return status;
}

/* HEAD of a trace: magic, version, no features; little more is needed. */
static size_t put_head(uint8_t *out)
{
  static const uint8_t start[8] = {0x50, 0x2A, 0x4D, 0x18, P11T_HEAD_FIXED, 0, 0, 0};
  memcpy(out, start, 8);
  memset(out + 8, 0, P11T_HEAD_FIXED);
  memcpy(out + 8, P11T_HEAD_MAGIC, 8);
  out[16] = P11T_MAJOR;
  return 8 + P11T_HEAD_FIXED;
}

/* Otherwise nearly every input would be a foreign file or one of the future. */
static void mend_head(uint8_t *trace, size_t size)
{
  static const uint8_t start[4] = {0x50, 0x2A, 0x4D, 0x18};
  if (size < 8 + P11T_HEAD_FIXED) return;
  memcpy(trace, start, 4);
  memcpy(trace + 8, P11T_HEAD_MAGIC, 8);
  trace[16] = P11T_MAJOR, trace[17] = 0;
  memset(trace + 24, 0, 8);
}

/* Contents to a trace whose hashes and checksums are right. */
static size_t put_frames(uint8_t *out, size_t room, const uint8_t *data, size_t size)
{
  static uint8_t content[70000], packed[80000];
  static uint32_t generation;
  size_t n = put_head(out);
  while (size >= 4) {
    size_t length = (size_t)data[0] | (size_t)data[1] << 8;
    struct p11t_info info = {.magic = P11T_INFO_MAGIC,
                             .kind = data[2] % 5,
                             .clock = data[3] >> 7 ? 2 : 1,
                             .slot = data[3] & 7,
                             .tid = 1,
                             .generation = ++generation,
                             .records = 1,
                             .first_number = 1,
                             .last_number = 9,
                             .first_time = 5};
    data += 4, size -= 4;
    if (length > size) length = size;
    info.content = (uint32_t)(sizeof info + length);
    memcpy(content, &info, sizeof info);
    memcpy(content + sizeof info, data, length);
    data += length, size -= length;
    size_t bytes = ZSTD_compress(packed, sizeof packed, content, sizeof info + length, 1);
    if (ZSTD_isError(bytes) || n + 8 + sizeof info + bytes > room) break;
    info.packed = (uint32_t)bytes;
    p11t_info_seal(&info);
    uint32_t skippable[2] = {P11T_SKIP_INFO, sizeof info};
    memcpy(out + n, skippable, 8);
    memcpy(out + n + 8, &info, sizeof info);
    memcpy(out + n + 8 + sizeof info, packed, bytes);
    n += 8 + sizeof info + bytes;
  }
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static uint8_t trace[1 << 20];
  prepare();
  unlink(live_path);
  if (size < 1 || size > sizeof trace / 2) return 0;
  switch (data[0] % 3) {
    case 0:
      memcpy(trace, data + 1, size - 1);
      mend_head(trace, size - 1);
      save(trace_path, trace, size - 1);
      break;
    case 1: {
      uint32_t length;
      if (size < 5) return 0;
      memcpy(&length, data + 1, 4);
      if (length > size - 5) length = (uint32_t)(size - 5);
      memcpy(trace, data + 5, length);
      mend_head(trace, length);
      save(trace_path, trace, length);
      save(live_path, data + 5 + length, size - 5 - length);
      break;
    }
    default: save(trace_path, trace, put_frames(trace, sizeof trace, data + 1, size - 1)); break;
  }
  read_all();
  return 0;
}

#ifndef FUZZER
int main(int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(argv[i], "rb");
    if (f == NULL) {
      perror(argv[i]);
      return 2;
    }
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    /* A copy of the exact size, so that a read past its end is seen. */
    uint8_t *copy = malloc(n == 0 ? 1 : n);
    if (copy == NULL) abort();
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
  }
  return 0;
}
#endif

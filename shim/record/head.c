#include "shim/record/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "shim/record/clock.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/sys.h"
#include "shim/trace/version.h"

static int argument_count;

void p11t_head_facts(int argc)
{
  argument_count = argc;
}

struct fields {
  uint8_t *p, *end;
};

static void field(struct fields *f, uint16_t tag, const void *data, size_t size)
{
  if (size > 4096 || (size_t)(f->end - f->p) < size + 4) return;
  uint16_t length = (uint16_t)size;
  memcpy(f->p, &tag, 2);
  memcpy(f->p + 2, &length, 2);
  memcpy(f->p + 4, data, size);
  f->p += 4 + size;
}

static void text(struct fields *f, uint16_t tag, const char *s)
{
  field(f, tag, s, strlen(s));
}
static void u32(struct fields *f, uint16_t tag, uint32_t v)
{
  field(f, tag, &v, sizeof v);
}
static void u64(struct fields *f, uint16_t tag, uint64_t v)
{
  field(f, tag, &v, sizeof v);
}

/* Up to size - 1 bytes of a file of /proc, NUL-terminated; 0 when it cannot be read. */
static size_t slurp(const char *path, char *to, size_t size)
{
  long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  size_t n = 0;
  for (long r; n < size - 1 && (r = sys_read((int)fd, to + n, size - 1 - n)) > 0;) n += (size_t)r;
  sys_close((int)fd);
  to[n] = 0;
  return n;
}

static void boot_id(struct fields *f)
{
  char s[64];
  uint8_t id[16];
  unsigned n = 0;
  if (slurp("/proc/sys/kernel/random/boot_id", s, sizeof s) < 36) return;
  for (const char *c = s; *c && n < 16; c++) {
    unsigned byte;
    if (*c == '-') continue;
    if (sscanf(c, "%2x", &byte) != 1) return;
    id[n++] = (uint8_t)byte;
    c++;
  }
  if (n == 16) field(f, P11T_HEAD_BOOT_ID, id, sizeof id);
}

/* Inode of a namespace, from the link "pid:[4026531836]". */
static void namespace(struct fields *f, uint16_t tag, const char *path)
{
  char s[64];
  ssize_t n = readlink(path, s, sizeof s - 1);
  if (n <= 0) return;
  s[n] = 0;
  const char *bracket = strchr(s, '[');
  if (bracket) u64(f, tag, strtoull(bracket + 1, NULL, 10));
}

static void start_time(struct fields *f)
{
  char s[1024];
  if (slurp("/proc/self/stat", s, sizeof s) == 0) return;
  const char *c = strrchr(s, ')'); /* the name may hold anything; field 3 follows it */
  for (int i = 2; c && i < 22; i++) c = strchr(c + 1, ' ');
  if (c) u64(f, P11T_HEAD_START_TIME, strtoull(c + 1, NULL, 10));
}

static void machine(struct fields *f)
{
  struct utsname name;
  char arch[80] = {(char)(sizeof(unsigned long) * 8), 0};
  if (uname(&name) != 0) return;
  int n = snprintf(arch + 2, sizeof arch - 2, "%s", name.machine);
  field(f, P11T_HEAD_ARCH, arch, 2 + (size_t)n);
}

static void options(struct fields *f)
{
  static const char *const capture[] = {"meta", "safe", "clear"};
  const struct p11t_options *o = &p11t_options;
  char s[256];
  int n = 0;
  text(f, P11T_HEAD_CAPTURE, capture[o->capture]);
  if (o->stack == P11T_STACK_OFF) n += snprintf(s, sizeof s, "stack=off\n");
  if (o->cut != P11T_CUT_DEFAULT) n += snprintf(s + n, sizeof s - (size_t)n, "cut=%llu\n", (unsigned long long)o->cut);
  if (p11t_process.write_through) n += snprintf(s + n, sizeof s - (size_t)n, "live=none\n");
  if (o->only[0] != UINT64_MAX || o->only[1] != UINT64_MAX) {
    n += snprintf(s + n, sizeof s - (size_t)n, "only=%016llx%016llx\n", (unsigned long long)o->only[1],
                  (unsigned long long)o->only[0]);
  }
  if (n > 0) field(f, P11T_HEAD_OPTIONS, s, (size_t)n);
}

size_t p11t_head_build(uint8_t out[P11T_HEAD_MAX], const char *live_path)
{
  const struct p11t_process *p = &p11t_process;
  uint16_t version[2] = {P11T_MAJOR, P11T_MINOR};
  uint64_t compatible = p11t_options.capture == P11T_CAPTURE_CLEAR ? P11T_COMPAT_CLEAR : 0;
  memset(out, 0, P11T_HEAD_FIXED);
  memcpy(out, P11T_HEAD_MAGIC, 8);
  memcpy(out + 8, version, sizeof version);
  memcpy(out + 32, &compatible, sizeof compatible);
  struct fields f = {out + P11T_HEAD_FIXED, out + P11T_HEAD_MAX};

  field(&f, P11T_HEAD_TRACE_ID, p->trace_id, sizeof p->trace_id);
  if (p->parent_pid) {
    field(&f, P11T_HEAD_PARENT_ID, p->parent_id, sizeof p->parent_id);
    u32(&f, P11T_HEAD_PARENT_PID, p->parent_pid);
  }
  char big[4097];
  ssize_t n = readlink("/proc/self/exe", big, sizeof big - 1);
  if (n > 0) field(&f, P11T_HEAD_EXECUTABLE, big, (size_t)n);
  text(&f, P11T_HEAD_PROGRAM, program_invocation_short_name);
  /* Arguments hold PINs (pk12util -K, pkcs11-tool --pin): only their number, unless asked. */
  if (argument_count > 0) u32(&f, P11T_HEAD_ARGC, (uint32_t)argument_count);
  if (p11t_options.cmdline) field(&f, P11T_HEAD_CMDLINE, big, slurp("/proc/self/cmdline", big, sizeof big));
  boot_id(&f);
  namespace(&f, P11T_HEAD_PID_NS, "/proc/self/ns/pid");
  namespace(&f, P11T_HEAD_TIME_NS, "/proc/self/ns/time");
  u32(&f, P11T_HEAD_PID, p->pid);
  start_time(&f);
  machine(&f);
  uint8_t clock[9] = {p11t_clock_is_counter ? P11T_CLOCK_TSC : P11T_CLOCK_MONOTONIC};
  memcpy(clock + 1, &p->ticks_per_second, 8);
  field(&f, P11T_HEAD_CLOCK, clock, sizeof clock);
  struct p11t_clock_pair now;
  p11t_clock_read(&now);
  p11t_process.pair_ticks = now.ticks;
  field(&f, P11T_HEAD_CLOCK_PAIR, &now, sizeof now);
  options(&f);
  if (*live_path) text(&f, P11T_HEAD_LIVE_PATH, live_path);
  text(&f, P11T_HEAD_RECORDER, P11T_VERSION);
  return (size_t)(f.p - out);
}

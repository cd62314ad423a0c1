#include "shim/record/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "shim/record/clock.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/seal.h"
#include "shim/record/sys.h"
#include "shim/spec/settings.h"
#include "shim/trace/version.h"

static int argument_count;
static char program[128];

/* What /proc says of the process; in a sandbox it can be asked no more (p11t_reserve). */
static struct facts {
  char executable[4097], cmdline[4097], arch[80];
  size_t executable_size, cmdline_size, arch_size;
  uint8_t boot_id[16];
  bool has_boot_id;
  uint64_t pid_ns, time_ns, start_time;
} facts;

void p11t_head_facts(int argc)
{
  if (argc > 0) argument_count = argc;
  if (program[0] == '\0') snprintf(program, sizeof program, "%s", program_invocation_short_name);
}

const char *p11t_program(void)
{
  return program[0] != '\0' ? program : program_invocation_short_name;
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

static void boot_id(void)
{
  char s[64];
  unsigned n = 0;
  if (slurp("/proc/sys/kernel/random/boot_id", s, sizeof s) < 36) return;
  for (const char *c = s; *c && n < 16; c++) {
    unsigned byte;
    if (*c == '-') continue;
    if (sscanf(c, "%2x", &byte) != 1) return;
    facts.boot_id[n++] = (uint8_t)byte;
    c++;
  }
  facts.has_boot_id = n == 16;
}

/* Inode of a namespace, from the link "pid:[4026531836]". */
static uint64_t namespace(const char *path)
{
  char s[64];
  ssize_t n = readlink(path, s, sizeof s - 1);
  if (n <= 0) return 0;
  s[n] = 0;
  const char *bracket = strchr(s, '[');
  return bracket ? strtoull(bracket + 1, NULL, 10) : 0;
}

static uint64_t start_time(void)
{
  char s[1024];
  if (slurp("/proc/self/stat", s, sizeof s) == 0) return 0;
  const char *c = strrchr(s, ')'); /* the name may hold anything; field 3 follows it */
  for (int i = 2; c && i < 22; i++) c = strchr(c + 1, ' ');
  return c ? strtoull(c + 1, NULL, 10) : 0;
}

static void machine(void)
{
  struct utsname name;
  facts.arch[0] = (char)(sizeof(unsigned long) * 8);
  if (uname(&name) != 0) return;
  facts.arch_size = 2 + (size_t)snprintf(facts.arch + 2, sizeof facts.arch - 2, "%s", name.machine);
}

void p11t_head_gather(void)
{
  memset(&facts, 0, sizeof facts);
  ssize_t n = readlink("/proc/self/exe", facts.executable, sizeof facts.executable - 1);
  facts.executable_size = n > 0 ? (size_t)n : 0;
  if (p11t_options.cmdline) facts.cmdline_size = slurp("/proc/self/cmdline", facts.cmdline, sizeof facts.cmdline);
  boot_id();
  facts.pid_ns = namespace("/proc/self/ns/pid");
  facts.time_ns = namespace("/proc/self/ns/time");
  facts.start_time = start_time();
  machine();
}

static int probes(char *s, size_t size)
{
  const struct p11_setting *setting = &p11_settings[P11_SETTING_PROBE];
  int n = 0;
  unsigned bit = 1;
  for (const char *w = setting->words; *w; bit <<= 1) {
    int length = (int)strcspn(w, " ");
    if (p11t_options.probe & bit) n += snprintf(s + n, size - (size_t)n, "%s%.*s", n ? "," : "probe=", length, w);
    w += length;
    w += strspn(w, " ");
  }
  if (n > 0) n += snprintf(s + n, size - (size_t)n, "\n");
  return n;
}

static void options(struct fields *f)
{
  static const char *const capture[] = {"meta", "safe", "full", "clear"};
  static const char *const stack[] = {"off", "caller", "error", "first", "all"};
  const struct p11t_options *o = &p11t_options;
  char s[512];
  int n = 0;
  text(f, P11T_HEAD_CAPTURE, capture[o->capture]);
  if (o->stack != P11T_STACK_CALLER) n += snprintf(s, sizeof s, "stack=%s\n", stack[o->stack]);
  if (o->cut != P11T_CUT_DEFAULT) n += snprintf(s + n, sizeof s - (size_t)n, "cut=%llu\n", (unsigned long long)o->cut);
  if (o->max) n += snprintf(s + n, sizeof s - (size_t)n, "max=%llu\nfiles=%u\n", (unsigned long long)o->max, o->files);
  if (o->ring) n += snprintf(s + n, sizeof s - (size_t)n, "ring=%llu\n", (unsigned long long)o->ring);
  if (p11t_process.write_through) n += snprintf(s + n, sizeof s - (size_t)n, "live=none\n");
  if (o->only[0] != UINT64_MAX || o->only[1] != UINT64_MAX) {
    n += snprintf(s + n, sizeof s - (size_t)n, "only=%016llx%016llx\n", (unsigned long long)o->only[1],
                  (unsigned long long)o->only[0]);
  }
  n += probes(s + n, sizeof s - (size_t)n);
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
  /* Before what can be long: a field for which no room is left is left out, and without this one nothing opens. */
  uint8_t seal[P11T_SEAL_HEAD];
  size_t sealed = p11t_seal_head(seal);
  if (sealed > 0) field(&f, P11T_HEAD_SEAL_KEY, seal, sealed);
  if (p->parent_pid) {
    field(&f, P11T_HEAD_PARENT_ID, p->parent_id, sizeof p->parent_id);
    u32(&f, P11T_HEAD_PARENT_PID, p->parent_pid);
  }
  if (facts.executable_size) field(&f, P11T_HEAD_EXECUTABLE, facts.executable, facts.executable_size);
  text(&f, P11T_HEAD_PROGRAM, p11t_program());
  /* Arguments hold PINs (pk12util -K, pkcs11-tool --pin): only their number, unless asked. */
  if (argument_count > 0) u32(&f, P11T_HEAD_ARGC, (uint32_t)argument_count);
  if (p11t_options.cmdline) field(&f, P11T_HEAD_CMDLINE, facts.cmdline, facts.cmdline_size);
  if (facts.has_boot_id) field(&f, P11T_HEAD_BOOT_ID, facts.boot_id, sizeof facts.boot_id);
  if (facts.pid_ns) u64(&f, P11T_HEAD_PID_NS, facts.pid_ns);
  if (facts.time_ns) u64(&f, P11T_HEAD_TIME_NS, facts.time_ns);
  u32(&f, P11T_HEAD_PID, p->pid);
  if (facts.start_time) u64(&f, P11T_HEAD_START_TIME, facts.start_time);
  if (facts.arch_size) field(&f, P11T_HEAD_ARCH, facts.arch, facts.arch_size);
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

size_t p11t_head_of_file(uint8_t *out, uint64_t complete_from, uint32_t index)
{
  struct fields f = {out, out + 80};
  struct p11t_clock_pair now;
  if (index == 1 && complete_from == 1) return 0;
  u64(&f, P11T_HEAD_COMPLETE_FROM, complete_from);
  u32(&f, P11T_HEAD_FILE_INDEX, index);
  p11t_clock_read(&now);
  if (p11t_clock_is_counter == p11t_process.head_counter) field(&f, P11T_HEAD_CLOCK_PAIR, &now, sizeof now);
  return (size_t)(f.p - out);
}

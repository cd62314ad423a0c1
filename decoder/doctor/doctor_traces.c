/* Who is recording now, and where the last traces are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "decoder/doctor/doctor.h"
#include "decoder/read/cursor.h"
#include "shim/trace/format.h"

#define NEWEST 3

static bool ends_with(const char *name, const char *end)
{
  size_t n = strlen(name), m = strlen(end);
  return n > m && strcmp(name + n - m, end) == 0;
}

/* Program and pid out of the copy of HEAD in a live file. */
static void read_owner(int fd, char *program, size_t size, unsigned *pid)
{
  uint8_t head[P11T_LIVE_HEAD];
  ssize_t got = pread(fd, head, sizeof head, 0);
  program[0] = '\0';
  *pid = 0;
  if (got < P11T_LIVE_HEAD_COPY + P11T_HEAD_FIXED || memcmp(head, P11T_LIVE_MAGIC, 8) != 0) return;
  struct cursor c =
      cursor_of(head + P11T_LIVE_HEAD_COPY + P11T_HEAD_FIXED, (size_t)got - P11T_LIVE_HEAD_COPY - P11T_HEAD_FIXED);
  for (;;) {
    unsigned tag = get_u16(&c), length = get_u16(&c);
    const uint8_t *bytes = get_bytes(&c, length);
    if (c.bad || tag == 0) return;
    struct cursor value = cursor_of(bytes, length);
    if (tag == P11T_HEAD_PROGRAM) snprintf(program, size, "%.*s", (int)length, (const char *)bytes);
    if (tag == P11T_HEAD_PID) *pid = get_u32(&value);
  }
}

static void look_at_live_file(const char *path)
{
  char program[128];
  unsigned pid;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    doctor_note("recording", path, "cannot be read: %s", strerror(errno));
    return;
  }
  read_owner(fd, program, sizeof program, &pid);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    doctor_note("recording", path, "whether pid %u (%s) still records cannot be told here", pid, program);
  } else if (lock.l_type != F_UNLCK) {
    doctor_good("recording", path, "pid %u (%s) records now", pid, program);
  } else {
    doctor_note("traces", path,
                "pid %u (%s) ended without notice; it can be read as it is, or folded with `p11trace recover`", pid,
                program);
  }
  close(fd);
}

struct newest {
  char path[NEWEST][PATH_MAX];
  struct stat st[NEWEST];
  unsigned count;
  size_t all;
};

static void keep_newest(struct newest *n, const char *path)
{
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return;
  n->all++;
  unsigned at = n->count < NEWEST ? n->count++ : NEWEST;
  while (at > 0 &&
         (st.st_mtim.tv_sec > n->st[at - 1].st_mtim.tv_sec ||
          (st.st_mtim.tv_sec == n->st[at - 1].st_mtim.tv_sec && st.st_mtim.tv_nsec > n->st[at - 1].st_mtim.tv_nsec))) {
    at--;
  }
  if (at == NEWEST) return;
  unsigned last = n->count - 1;
  memmove(&n->st[at + 1], &n->st[at], (last - at) * sizeof n->st[0]);
  memmove(n->path[at + 1], n->path[at], (last - at) * sizeof n->path[0]);
  n->st[at] = st;
  snprintf(n->path[at], PATH_MAX, "%s", path);
}

/* `traces` NULL: look for live files only. */
static void look_into(const char *folder, struct newest *traces)
{
  DIR *dir = opendir(folder);
  if (dir == NULL) return;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path) continue;
    if (ends_with(e->d_name, ".p11t.live")) look_at_live_file(path);
    if (traces != NULL && ends_with(e->d_name, ".p11t")) keep_newest(traces, path);
  }
  closedir(dir);
}

void doctor_look_at_traces(struct doctor *d)
{
  static struct newest n;
  n.count = 0;
  n.all = 0;
  if (d->folder[0] != '\0') look_into(d->folder, &n);
  const char *where, *live = doctor_setting(d, "live", &where), *runtime = getenv("XDG_RUNTIME_DIR");
  if (live != NULL && strcmp(live, d->folder) != 0) look_into(live, NULL);
  char path[PATH_MAX];
  if (runtime != NULL && snprintf(path, sizeof path, "%s/p11trace", runtime) < (int)sizeof path) look_into(path, NULL);
  if (strcmp(d->folder, "/dev/shm") != 0) look_into("/dev/shm", NULL);
  for (unsigned i = 0; i < n.count; i++) {
    char when[32];
    struct tm tm;
    time_t t = n.st[i].st_mtim.tv_sec;
    if (localtime_r(&t, &tm) == NULL || strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm) == 0) when[0] = '\0';
    doctor_note("traces", n.path[i], "%s, %jd bytes", when, (intmax_t)n.st[i].st_size);
  }
  if (d->folder[0] != '\0' && n.all == 0) {
    doctor_note("traces", d->folder, "there is none; a process makes one when it calls the module for the first time");
  } else if (n.all > n.count) {
    doctor_note("traces", d->folder, "%zu older ones", n.all - n.count);
  }
}

/* The last link: the place where traces go. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "decoder/doctor/doctor.h"
#include "shim/trace/format.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef BTRFS_SUPER_MAGIC
#define BTRFS_SUPER_MAGIC 0x9123683E
#endif

/* What a process needs before its first record: the live file's head and first slots, and a little for frames. */
#define FIRST_ROOM (P11T_LIVE_HEAD + 4 * P11T_SLOT_SIZE + (1u << 20))

static bool is_folder(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* d->folder: the part of `out` that is the same for every program. False when there is none, which was said. */
static bool find_folder(struct doctor *d)
{
  const char *out = doctor_setting(d, "out", &d->out_from);
  if (out == NULL || out[0] == '\0') {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    d->out_from = state != NULL && state[0] == '/' ? "XDG_STATE_HOME" : "HOME";
    int n = state != NULL && state[0] == '/' ? snprintf(d->folder, PATH_MAX, "%s/p11trace", state)
            : home != NULL && home[0] == '/' ? snprintf(d->folder, PATH_MAX, "%s/.local/state/p11trace", home)
                                             : -1;
    if (n > 0 && n < PATH_MAX) return true;
    d->folder[0] = '\0';
    doctor_bad("output", NULL,
               "neither XDG_STATE_HOME nor HOME names a folder: give P11TRACE_OUT, or `out` in the .conf file");
    return false;
  }
  snprintf(d->out, sizeof d->out, "%s", out);
  snprintf(d->folder, sizeof d->folder, "%s", out);
  size_t n = strlen(out);
  if (out[0] != '/') doctor_note("output", out, "is relative: to the folder in which each program was started");
  bool is_file = (n > 5 && strcmp(out + n - 5, ".p11t") == 0) || strchr(out, '%') != NULL; /* as shim/record/names.c */
  if (!is_file || out[n - 1] == '/' || is_folder(out)) return true;
  char *mark = strchr(d->folder, '%');
  if (mark != NULL) *mark = '\0';
  char *slash = strrchr(d->folder, '/');
  if (slash == NULL) {
    strcpy(d->folder, ".");
  } else {
    slash[slash == d->folder] = '\0';
  }
  return true;
}

/* The nearest folder above that is there; what is missing below it the recorder makes. */
static bool nearest(const char *path, char to[PATH_MAX])
{
  snprintf(to, PATH_MAX, "%s", path);
  struct stat st;
  while (stat(to, &st) != 0) {
    if (errno != ENOENT) {
      doctor_bad("output", to, "%s: give another `out`", strerror(errno));
      return false;
    }
    char *slash = strrchr(to, '/');
    if (slash == NULL) {
      strcpy(to, ".");
    } else {
      slash[slash == to] = '\0';
    }
  }
  if (S_ISDIR(st.st_mode)) return true;
  doctor_bad("output", to, "is no folder: give another `out`");
  return false;
}

/* Only writing shows what quotas, read-only mounts and access lists allow. */
static bool try_to_write(const char *folder)
{
  static const char block[4096] = {1};
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/.p11trace-doctor.XXXXXX", folder) >= (int)sizeof path) return true;
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0) {
    int error = errno;
    if (error == ENOSPC || error == EDQUOT) {
      doctor_bad("output", folder, "the disk is full (%s): make room or give another `out`", strerror(error));
    } else {
      doctor_bad("output", folder, "cannot be written by user %u: %s: give another `out`, or the right to write",
                 geteuid(), strerror(error));
    }
    return false;
  }
  ssize_t n = write(fd, block, sizeof block);
  int error = n < 0 ? errno : ENOSPC;
  bool good = n == (ssize_t)sizeof block;
  if (good && fsync(fd) != 0) { /* delayed allocation finds out here */
    error = errno;
    good = error == EINVAL || error == EROFS;
  }
  close(fd);
  unlink(path);
  if (good) return true;
  doctor_bad("output", folder, "%s (%s): make room or give another `out`",
             error == ENOSPC || error == EDQUOT ? "the disk is full" : "cannot be written", strerror(error));
  return false;
}

static uint64_t parse_size(const char *text)
{
  char *end;
  unsigned long long n = strtoull(text, &end, 10);
  unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
  return (uint64_t)n << shift;
}

static void look_at_room(const struct doctor *d, const char *folder)
{
  struct statfs fs;
  if (statfs(folder, &fs) != 0 || fs.f_blocks == 0) return;
  const char *where, *text = doctor_setting(d, "min-free", &where);
  uint64_t room = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize, total = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
  uint64_t keep = text != NULL ? parse_size(text) : total / 20 < (1u << 30) ? total / 20 : 1u << 30;
  if (room < keep) {
    doctor_bad("room", folder,
               "%ju KiB are free and min-free wants %ju KiB kept free: make room, set min-free or give another `out`",
               (uintmax_t)(room >> 10), (uintmax_t)(keep >> 10));
  } else if (room - keep < FIRST_ROOM) {
    doctor_bad("room", folder,
               "the disk is full but for %ju KiB, of which min-free keeps %ju: make room or give another `out`",
               (uintmax_t)(room >> 10), (uintmax_t)(keep >> 10));
  } else {
    doctor_good("room", folder, "%ju MiB free, of which min-free keeps %ju", (uintmax_t)(room >> 20),
                (uintmax_t)(keep >> 20));
  }
}

static bool is_mappable(const char *folder, const char **name)
{
  struct statfs fs;
  *name = "unknown";
  if (statfs(folder, &fs) != 0) return false;
  switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC: *name = "ext4"; return true;
    case XFS_SUPER_MAGIC: *name = "xfs"; return true;
    case TMPFS_MAGIC: *name = "tmpfs"; return true;
    case BTRFS_SUPER_MAGIC: *name = "btrfs"; return true;
    case OVERLAYFS_SUPER_MAGIC: *name = "overlayfs"; return false;
    case NFS_SUPER_MAGIC: *name = "nfs"; return false;
    default: return false;
  }
}

/* Where the part of a trace that is not compressed yet lies while a process runs. */
static void look_at_live(const struct doctor *d, const char *folder)
{
  const char *where, *live = doctor_setting(d, "live", &where), *kind;
  if (live != NULL) {
    if (!is_folder(live)) {
      doctor_bad("live file", live, "is no folder: `live` of %s must name one", where);
    } else if (!is_mappable(live, &kind)) {
      doctor_bad("live file", live,
                 "its file system (%s) is not one to map files on: give a folder on ext4, xfs, btrfs or tmpfs", kind);
    } else {
      doctor_good("live file", live, "on %s", kind);
    }
    return;
  }
  if (is_mappable(folder, &kind)) {
    doctor_good("live file", folder, "beside the trace, on %s", kind);
    return;
  }
  const char *other, *runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime == NULL || !is_mappable(runtime, &other)) runtime = "/dev/shm";
  if (is_mappable(runtime, &other)) {
    doctor_note("live file", runtime, "lies there, not beside the trace: %s is not a file system to map files on",
                kind);
  } else {
    doctor_note("live file", folder,
                "no place to map a file: each record is written at once, which is slow; `live` may name a tmpfs");
  }
}

static void look_at_name(const struct doctor *d)
{
  struct stat st;
  if (d->out[0] == '\0' || strchr(d->out, '%') != NULL || lstat(d->out, &st) != 0) return;
  if (S_ISLNK(st.st_mode) && !is_folder(d->out)) {
    doctor_bad("output", d->out, "is a symbolic link and will not be followed: give another `out`");
  }
}

void doctor_look_at_output(struct doctor *d)
{
  char folder[PATH_MAX];
  struct stat st;
  if (!find_folder(d)) return;
  look_at_name(d);
  if (!nearest(d->folder, folder)) return;
  if (d->out[0] == '\0' && strcmp(folder, d->folder) == 0 && stat(folder, &st) == 0 &&
      (st.st_uid != geteuid() || (st.st_mode & 022) != 0)) {
    doctor_bad("output", folder, "belongs to another user or others may write in it: mend that, or give P11TRACE_OUT");
  } else if (try_to_write(folder)) {
    doctor_good("output", d->folder, "%s, from %s; user %u may write there",
                strcmp(folder, d->folder) == 0 ? "is there" : "will be made", d->out_from, geteuid());
    look_at_room(d, folder);
  }
  look_at_live(d, folder);
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < FIRST_ROOM) {
    doctor_bad("limit", NULL, "files may be at most %ju KiB long (ulimit -f): raise it for the traced program",
               (uintmax_t)(limit.rlim_cur >> 10));
  }
}

/* How a trace ended (FORMAT.md, section 8). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/read/reader.h"

static bool read_text(const char *path, char *text, size_t size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

/* Boot id, pid namespace, pid and start time all agree: the process still runs. For file systems without locks. */
bool verdict_owner_lives(const struct process *p)
{
  char text[1024], path[64];
  uint8_t boot[16] = {0};
  struct stat st;
  if (!read_text("/proc/sys/kernel/random/boot_id", text, sizeof text)) return false;
  size_t n = 0;
  for (const char *c = text; *c != '\0' && n < 32; c++) {
    int digit = *c >= '0' && *c <= '9' ? *c - '0' : *c >= 'a' && *c <= 'f' ? *c - 'a' + 10 : -1;
    if (digit < 0) continue;
    boot[n / 2] = (uint8_t)(boot[n / 2] << 4 | digit);
    n++;
  }
  if (memcmp(boot, p->boot_id, 16) != 0) return false;
  if (stat("/proc/self/ns/pid", &st) != 0 || st.st_ino != p->pid_ns) return false;
  snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", p->pid);
  if (!read_text(path, text, sizeof text)) return false;
  const char *c = strrchr(text, ')'); /* the program's name may hold blanks */
  uint64_t start = 0;
  for (int field = 2; c != NULL && field < 22; field++) c = strchr(c + 1, ' ');
  if (c != NULL) start = strtoull(c + 1, NULL, 10);
  return start == p->start_time;
}

bool verdict_locked(struct reader *r, int fd)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  if (fcntl(fd, F_OFD_GETLK, &lock) == 0) return lock.l_type != F_UNLCK;
  return verdict_owner_lives(&r->p);
}

/* An END that recover wrote says nothing of how the process ended. */
static bool ended_cleanly(const struct process *p)
{
  return p->has_end && !(p->end_reason != NULL &&
                         (strcmp(p->end_reason, "recovered") == 0 || strcmp(p->end_reason, "snapshot") == 0));
}

/* Of a process that went on when its files were packed. */
static bool is_snapshot(const struct process *p)
{
  return p->has_end && p->end_reason != NULL && strcmp(p->end_reason, "snapshot") == 0;
}

/* What can be said before anything was read; notes what is missing at the ends of the files. */
void verdict_early(struct reader *r)
{
  struct process *p = &r->p;
  /* Without a place for a live file the recorder writes each record at once, and says so. */
  bool through = !p->has_live && strstr(p->options, "live=none") != NULL;
  if (through && !p->has_end) p->locked = verdict_owner_lives(p);
  p->verdict = p->locked || is_snapshot(p) ? VERDICT_RECORDING : ended_cleanly(p) ? VERDICT_COMPLETE : VERDICT_UNKNOWN;
  for (size_t i = 0; i < r->files; i++) {
    const struct trace_file *f = &r->file[i];
    bool last = i + 1 == r->files;
    if (p->locked) continue;
    uint64_t tail = f->size - f->whole_end;
    const uint32_t current = r->live_head.file; /* 0: the only one, or one is being begun */
    const bool live = p->has_live && r->live_state_known;
    if (live && (current == 0 ? r->files > 1 : f->index > current)) continue;
    if (live && (current == 0 || f->index == current)) {
      /* Killed while it wrote a frame: that fill still lies in its slot. */
      if (f->size < r->live_head.trace_end) {
        reader_damage(r, r->live_head.trace_end - f->size,
                      "%s: cut at offset %" PRIu64 ": %" PRIu64 " bytes are missing", f->path, f->size,
                      r->live_head.trace_end - f->size);
      } else if (f->whole_end < r->live_head.trace_end) {
        reader_damage(r, r->live_head.trace_end - f->whole_end,
                      "%s: offset %" PRIu64 ": %" PRIu64 " bytes are no frame", f->path, f->whole_end,
                      r->live_head.trace_end - f->whole_end);
      }
      continue;
    }
    if (tail > 0) {
      if (f->has_end) {
        reader_damage(r, tail, "%s: the seek table at offset %" PRIu64 " is cut; no record is lost", f->path,
                      f->whole_end);
      } else {
        reader_damage(r, tail,
                      "%s: cut: no whole frame after offset %" PRIu64 " (%" PRIu64
                      " bytes); what was recorded later is missing",
                      f->path, f->whole_end, tail);
      }
    } else if (last && p->end_reason != NULL && strcmp(p->end_reason, "full") == 0 && !p->has_live) {
      reader_damage(r, 0, "%s: it goes on in a later file (number %" PRIu32 " or so), which is not there", f->path,
                    f->index + 1);
    } else if (last && !p->has_end && f->size > 0 && !p->has_live && !through) {
      reader_damage(r, 0,
                    "%s: cut at offset %" PRIu64
                    ": it has no end, and there is no live file; what was recorded later "
                    "is missing",
                    f->path, f->size);
    }
  }
}

static bool waits(const struct open_call *open)
{
  return open->call.known == P11_F_C_WaitForSlotEvent;
}

/* After everything was read, and before the calls in flight are handed out. */
void verdict_late(struct reader *r)
{
  struct process *p = &r->p;
  const struct open_call *newest = NULL;
  if (r->has_end_records && r->pieces < r->end_records && p->damage[0] == '\0' && p->complete_from <= 1 &&
      (p->compat & P11T_COMPAT_DERIVED) == 0) {
    reader_damage(r, 0, "%" PRIu64 " of %" PRIu64 " records are missing", r->end_records - r->pieces, r->end_records);
  }
  if (p->locked || is_snapshot(p) || ended_cleanly(p)) return;
  if (!p->has_end && !p->has_live && strstr(p->options, "live=none") == NULL) return;
  for (size_t i = 0; i < OPEN_BUCKETS; i++) {
    for (const struct open_call *o = r->by_number[i]; o != NULL; o = o->next_number) {
      if (!waits(o) && (newest == NULL || o->call.number > newest->call.number)) newest = o;
    }
  }
  p->verdict = newest == NULL ? VERDICT_ENDED : VERDICT_DIED;
  p->ended_inside = newest == NULL ? NULL : newest->call.info->name;
}

#include "shim/record/rotate.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/objects.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/restate.h"
#include "shim/record/say.h"
#include "shim/record/sys.h"

/* No frame is larger: its content is never larger than the slot, whose record heads take more room than the columns. */
#define LARGEST_FRAME (ZSTD_COMPRESSBOUND(P11T_SLOT_SIZE) + 8 + sizeof(struct p11t_info))
/* END, and the seek table's head and foot. */
#define LAST_FRAMES 512
#define MAX_FILES 1000
#define RETRY_NS 1000000000ull

static char first[PATH_MAX]; /* name of the first file */
static uint32_t index_now;   /* of the file that is written */
static uint64_t last_number; /* largest one in a frame so far, or lost */
static bool refused;         /* the latest attempt at another file failed */
static bool ending;

/* The files that are there, oldest first. */
static struct file {
  uint32_t index;
  dev_t dev;
  ino_t ino;
} kept[MAX_FILES + 1];
static unsigned files;

static void keep(const struct p11t_output *o, uint32_t index)
{
  kept[files++] = (struct file){index, o->dev, o->ino};
}

bool p11t_rotation_start(void)
{
  struct p11t_process *p = &p11t_process;
  memcpy(first, p->trace.path, sizeof first);
  index_now = 1;
  last_number = 0;
  refused = ending = false;
  files = 0;
  keep(&p->trace, 1);
  p->head->file = 1;
  return true;
}

void p11t_rotation_saw(const struct p11t_info *info)
{
  if (info->kind == P11T_FRAME_EVENTS && info->last_number > last_number) last_number = info->last_number;
}

/* NAME.INDEX.p11t; false when that is too long. */
static bool name_of(uint32_t index, char path[PATH_MAX])
{
  size_t length = strlen(first);
  const char *suffix = "";
  if (length > 5 && strcmp(first + length - 5, ".p11t") == 0) {
    suffix = ".p11t";
    length -= 5;
  }
  int n = index == 1 ? snprintf(path, PATH_MAX, "%s", first)
                     : snprintf(path, PATH_MAX, "%.*s.%u%s", (int)length, first, index, suffix);
  return n < PATH_MAX;
}

static void remove_if_ours(const char *path, dev_t dev, ino_t ino)
{
  struct stat st;
  int saved = errno;
  if (lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino) sys_unlink(path);
  errno = saved;
}

void p11t_remove(const struct p11t_output *o)
{
  remove_if_ours(o->path, o->dev, o->ino);
}

static void remove_oldest(void)
{
  static char path[PATH_MAX];
  unsigned most = p11t_options.files;
  while (files > most) {
    if (name_of(kept[0].index, path)) remove_if_ours(path, kept[0].dev, kept[0].ino);
    memmove(kept, kept + 1, --files * sizeof *kept);
  }
}

/* Says it once, until there is a file again. */
static void cannot(const char *path, const char *why)
{
  struct p11t_process *p = &p11t_process;
  if (!refused) {
    p11t_say("%s: cannot be %s: %s; %s", path, *why == 0 ? "named" : "begun", *why == 0 ? "too long" : why,
             p11t_options.ring ? "this dump is not written" : "only the last records are kept until it can");
  }
  refused = true;
  if (p11t_options.ring) return;
  p->head->state = P11T_LOSING;
  p->retry_at = p11t_monotonic() + RETRY_NS;
}

/* Creates the first name that is free from the next index on; 0 or a negative errno. */
static long create(struct p11t_output *o, uint32_t *index, char path[PATH_MAX])
{
  for (*index = index_now + 1;; ++*index) {
    if (!name_of(*index, path)) return -ENAMETOOLONG;
    long r = p11t_output_create_exact(o, path);
    if (r != -EEXIST || *index > index_now + 100) return r;
  }
}

bool p11t_next_file(uint64_t complete_from, const char *reason)
{
  static struct p11t_output before, after;
  static char path[PATH_MAX];
  struct p11t_process *p = &p11t_process;
  uint32_t index = index_now;
  /* A child that may be in a sandbox opens nothing after its start (decisions.md D13). */
  long r = p11t_guard->reserved ? -EACCES : create(&after, &index, path);
  if (p11t_guard->reserved) name_of(index_now + 1, path);
  if (r != 0) {
    cannot(path, p11t_errno_text((int)-r));
    return false;
  }
  const uint64_t end = p->end, frames = p->frames;
  uint32_t state = p->head->state;
  before = p->trace;
  p->trace = after;
  p->head->file = 0; /* killed from here on: whatever stands behind the last whole frame of a file is no loss */
  r = p11t_begin_file(complete_from, index);
  bool begun = r == 0 && p11t_restate();
  const uint64_t new_end = p->end, new_frames = p->frames;
  after = p->trace;
  p->trace = before;
  p->end = end;
  p->frames = frames;
  if (!begun) {
    remove_if_ours(path, after.dev, after.ino);
    p11t_output_close(&after);
    p->head->state = state;
    p->head->trace_end = end;
    p->head->frames = frames;
    p->head->file = index_now;
    cannot(path, r != 0 ? p11t_errno_text((int)-r) : "there is no room");
    return false;
  }
  if (reason != NULL) p11t_write_end(reason, NULL);
  p11t_output_mend(&p->trace, p->end, false);
  p11t_output_close(&p->trace);
  p->trace = after;
  p->end = new_end;
  p->frames = new_frames;
  p->head->trace_end = new_end;
  p->head->frames = new_frames;
  p->head->state = P11T_RECORDING;
  p->head->file = index_now = index;
  p->retry_at = 0;
  refused = false;
  keep(&p->trace, index);
  p11t_objects_forget();
  remove_oldest();
  return true;
}

void p11t_rotate_if_full(void)
{
  struct p11t_process *p = &p11t_process;
  uint64_t seek_table = 16 * (p->frames + 2);
  if (p11t_options.max == 0 || p->end + (uint64_t)LARGEST_FRAME + seek_table + LAST_FRAMES <= p11t_options.max) return;
  if (ending && refused) return;
  if (p->retry_at && p11t_monotonic() < p->retry_at) return; /* nothing is written now, so nothing grows */
  p11t_next_file(last_number + 1, "full");
}

void p11t_rotation_ends(void)
{
  ending = true;
  if (!refused) return;
  p11t_process.retry_at = 0;
  p11t_process.head->state = P11T_RECORDING;
}

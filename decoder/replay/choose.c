/* Which of the modules of a recorded process is the one whose calls are made again. */
#include <string.h>

#include "decoder/replay/job.h"

bool choose_takes(const struct replay_options *options, const struct process *process, uint16_t id)
{
  if (options->chosen == NULL) return true;
  const struct module *module = trace_module(process, id);
  return strcmp(module != NULL && module->path != NULL ? module->path : "", options->chosen) == 0;
}

static const char *file_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

bool choose_beside(const char *path)
{
  static const char *const beside[] = {"libsoftokn3", "libnssckbi", "libnsssysinit", "p11-kit"};
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
    if (strstr(file_name(path), beside[i]) != NULL) return true;
  return false;
}

/* The only one of them that `fits`; -1 none, -2 several. */
static int only(const struct candidate *candidate, size_t count, bool fits(const char *path, const char *with),
                const char *with)
{
  int found = -1;
  for (size_t i = 0; i < count; i++) {
    if (!fits(candidate[i].path, with)) continue;
    if (found >= 0) return -2;
    found = (int)i;
  }
  return found;
}

static bool has_part(const char *path, const char *part)
{
  return strstr(path, part) != NULL;
}

static bool has_name(const char *path, const char *other)
{
  return strcmp(file_name(path), file_name(other)) == 0;
}

static bool is_main(const char *path, const char *unused)
{
  (void)unused;
  return !choose_beside(path);
}

int choose(const struct candidate *candidate, size_t count, const struct replay_options *options)
{
  if (count == 0) return -1;
  if (options->recorded != NULL) return only(candidate, count, has_part, options->recorded);
  if (count == 1) return 0;
  const int named = only(candidate, count, has_name, options->module);
  if (named >= 0) return named;
  const int main = only(candidate, count, is_main, NULL);
  return main >= 0 ? main : -2;
}

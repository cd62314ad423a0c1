/* The room of `p11trace wrap`: traced copies of PKCS #11 modules, and NSS databases that use them.
 *
 * A traced copy is two files: NAME.so, the stub, and NAME.conf beside it, which names the recorder, the module that
 * is traced and the settings. Everything here reports its own errors on stderr, as "what: where: what to do", and
 * returns a negative number. */
#ifndef P11TRACE_WRAP_H
#define P11TRACE_WRAP_H

#include <limits.h> /* PATH_MAX */
#include <stddef.h>
#include <sys/stat.h>

/* One line of the .conf file. The name is one that the recorder knows; the value is a single line. */
struct wrap_setting {
  const char *name;
  const char *value;
};

struct wrap_request {
  const char *module;    /* a path, or a bare name that the dynamic loader can find */
  const char *output;    /* the traced library, ending in .so; NULL: <module>-traced.so in `directory` */
  const char *directory; /* for `output` NULL; NULL is the current directory */
  const char *recorder;  /* libp11trace.so; NULL: the one that belongs to this p11trace */
  const struct wrap_setting *settings;
  size_t n_settings;
};

/* Absolute paths of what was written and what it refers to; `out` is empty when the default applies. */
struct wrap_copy {
  char library[PATH_MAX];
  char conf[PATH_MAX];
  char module[PATH_MAX];
  char recorder[PATH_MAX];
  char out[PATH_MAX];
};

/* Writes a traced copy of request->module. Refuses a module that does not load, that has no C_GetFunctionList or that
 * is traced already, and an output that exists and is not a traced copy. Files are replaced by rename, never written
 * in place: a running program may have the old ones mapped. */
int wrap_write(const struct wrap_request *request, struct wrap_copy *copy);

/* Prints where things are, the modutil line and the Firefox policy; with `quiet` the library's path alone. */
void wrap_print(const struct wrap_copy *copy, int quiet);

/* Swaps the module called `name` in the NSS database for a traced copy: changes its one `library=` line in pkcs11.txt
 * and remembers the old one in pkcs11.txt.p11trace. `database` is sql:DIR or DIR. request->module must be NULL. */
int nssdb_replace(const char *database, const char *name, struct wrap_request *request, struct wrap_copy *copy);

/* Puts every line that nssdb_replace changed back, byte for byte, and removes the traced copies that lie in the
 * database's own directory. */
int nssdb_restore(const char *database);

/* The recorder `asked` for, or the one that belongs to this p11trace. 0, or -1 after an error was said. */
int wrap_find_recorder(const char *asked, char out[PATH_MAX]);

/* --- shared inside the room ------------------------------------------------------------------------------------- */

enum wrap_probe_answer {
  WRAP_PROBE_GOOD,
  WRAP_PROBE_NOT_LOADABLE,
  WRAP_PROBE_NO_FUNCTION_LIST,
  WRAP_PROBE_TRACED,
  WRAP_PROBE_DIED,
  WRAP_PROBE_HANGS
};

struct wrap_probe {
  enum wrap_probe_answer answer;
  int signal;          /* for WRAP_PROBE_DIED */
  char text[512];      /* the loader's message for WRAP_PROBE_NOT_LOADABLE */
  char path[PATH_MAX]; /* the file that the loader took */
};

/* Loads the module in a child process, whose constructors may crash or hang without harm, and looks for the entry
 * points. Returns 0 when `probe` is filled in. */
int wrap_probe_module(const char *module, struct wrap_probe *probe);

/* The verb that errors are reported by: "wrap", unless another uses this room. */
extern const char *wrap_verb;

/* Prints "p11trace wrap: WHAT: WHERE: TODO" and returns -1. */
int wrap_fail(const char *what, const char *where, const char *todo, ...) __attribute__((format(printf, 3, 4)));

/* The whole file, NUL-terminated (the NUL is not counted), or NULL with errno; the caller frees it. Files beyond
 * 16 MiB are refused with EFBIG. `st` may be NULL. */
char *wrap_read_file(const char *path, size_t *size, struct stat *st);

/* Replaces `path` by a temporary file and rename. `like` (may be NULL) gives the owner. Returns 0, or -1 with errno. */
int wrap_replace_file(const char *path, const void *data, size_t size, mode_t mode, const struct stat *like);

/* Is this file a traced copy that some p11trace has written? */
int wrap_is_traced_copy(const char *path);

/* The path of the .conf beside a library: its name without .so, then .conf. */
int wrap_conf_path(const char *library, char conf[PATH_MAX]);

#endif

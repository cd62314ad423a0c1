/* Writing a traced copy: the stub under the new name, and beside it the .conf that says what it stands for. */
#include "decoder/wrap/wrap.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* decoder/cmd/stub_blob.c */
extern const unsigned char p11trace_stub_begin[], p11trace_stub_end[];

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

/* An absolute path with the directory resolved and the last part kept: a vendor's libvendor.so -> libvendor.so.1.2
 * shall go on following updates. -1 with errno if the directory does not exist. */
static int absolute(const char *path, char out[PATH_MAX])
{
  char directory[PATH_MAX], resolved[PATH_MAX];
  const char *name = base_name(path);
  size_t length = (size_t)(name - path);
  if (length >= sizeof directory) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(directory, path, length);
  directory[length] = '\0';
  if (realpath(length == 0 ? "." : directory, resolved) == NULL) return -1;
  const char *separator = strcmp(resolved, "/") == 0 ? "" : "/";
  if (snprintf(out, PATH_MAX, "%s%s%s", resolved, separator, name) >= PATH_MAX) {
    errno = ENAMETOOLONG;
    return -1;
  }
  return 0;
}

int wrap_find_recorder(const char *asked, char out[PATH_MAX])
{
  /* Beside p11trace is the build folder; the others are what an installation has. */
  static const char *const places[] = {"libp11trace.so", "../lib/p11trace/libp11trace.so", "../lib/libp11trace.so",
                                       "../lib64/p11trace/libp11trace.so", "../lib64/libp11trace.so"};
  if (asked != NULL) {
    if (realpath(asked, out) != NULL) return 0;
    return wrap_fail("no recorder", asked, "%s; name an existing libp11trace.so", strerror(errno));
  }
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n < 0) return wrap_fail("no recorder", "/proc/self/exe", "%s; give its path with --recorder", strerror(errno));
  self[n] = '\0';
  size_t directory = (size_t)(base_name(self) - self);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%.*s%s", (int)directory, self, places[i]) >= (int)sizeof path) continue;
    if (realpath(path, out) != NULL) return 0;
  }
  self[directory] = '\0';
  return wrap_fail("no recorder", self, "libp11trace.so is neither there nor in ../lib; give its path with --recorder");
}

/* Fills copy->module, after the module has been loaded once in a child process. */
static int check_module(const char *module, struct wrap_copy *copy)
{
  struct wrap_probe probe;
  int is_path = strchr(module, '/') != NULL || access(module, F_OK) == 0;
  if (is_path) {
    struct stat st;
    if (stat(module, &st) != 0) {
      return wrap_fail("no such module", module, "%s; give the path of the vendor's library", strerror(errno));
    }
    if (absolute(module, copy->module) != 0) return wrap_fail("no such module", module, "%s", strerror(errno));
  }
  if (wrap_probe_module(is_path ? copy->module : module, &probe) != 0) return -1;
  switch (probe.answer) {
    case WRAP_PROBE_GOOD: break;
    case WRAP_PROBE_NOT_LOADABLE:
      return wrap_fail("the module does not load", module, "%s; programs could not load it either", probe.text);
    case WRAP_PROBE_NO_FUNCTION_LIST:
      return wrap_fail("not a PKCS #11 module", module,
                       "it has no C_GetFunctionList; give the library that your program loads");
    case WRAP_PROBE_TRACED:
      return wrap_fail("the module is traced already", module,
                       "give the vendor's own library, the `module` of its .conf");
    case WRAP_PROBE_DIED:
      return wrap_fail("the module does not load", module,
                       "the process that loads it %s%s; programs could not load it either",
                       probe.signal != 0 ? "dies of " : "ends", probe.signal != 0 ? strsignal(probe.signal) : "");
    case WRAP_PROBE_HANGS:
      return wrap_fail("the module does not load", module,
                       "loading it takes more than ten seconds; is its daemon running?");
  }
  if (!is_path && snprintf(copy->module, sizeof copy->module, "%s", probe.path) >= (int)sizeof copy->module) {
    return wrap_fail("no such module", module, "its path is too long");
  }
  return 0;
}

static int name_output(const struct wrap_request *request, struct wrap_copy *copy)
{
  char name[PATH_MAX];
  if (request->output != NULL) {
    size_t length = strlen(request->output);
    if (length < 4 || strcmp(request->output + length - 3, ".so") != 0 || request->output[length - 4] == '/') {
      return wrap_fail("not a name for the traced library", request->output,
                       "the name must end in .so, its settings stand beside it as .conf");
    }
    if (absolute(request->output, copy->library) != 0) {
      return wrap_fail("cannot write", request->output, "%s", strerror(errno));
    }
  } else {
    /* libvendor.so.1.2 and libvendor.so both give libvendor-traced.so */
    const char *base = base_name(copy->module);
    const char *end = strstr(base, ".so");
    while (end != NULL && end[3] != '\0' && end[3] != '.') end = strstr(end + 1, ".so");
    int length = (int)(end != NULL && end > base ? (size_t)(end - base) : strlen(base));
    const char *directory = request->directory != NULL ? request->directory : ".";
    if (snprintf(name, sizeof name, "%s/%.*s-traced.so", directory, length, base) >= (int)sizeof name ||
        absolute(name, copy->library) != 0) {
      return wrap_fail("cannot write", directory, "%s", strerror(errno));
    }
  }
  if (wrap_conf_path(copy->library, copy->conf) != 0) {
    return wrap_fail("cannot write", copy->library, "%s", strerror(ENAMETOOLONG));
  }
  struct stat st;
  if (lstat(copy->library, &st) == 0 && !wrap_is_traced_copy(copy->library)) {
    return wrap_fail("will not overwrite", copy->library, "it is not a traced copy; choose another name with -o");
  }
  if (lstat(copy->conf, &st) == 0) {
    size_t size;
    char *old = wrap_read_file(copy->conf, &size, NULL);
    int ours = old != NULL && strstr(old, "p11trace") != NULL;
    free(old);
    if (!ours) {
      return wrap_fail("will not overwrite", copy->conf, "it is not a file of p11trace; choose another name with -o");
    }
  }
  return 0;
}

/* mkdir -p; traces are private, so what is made here is 0700. */
static int make_directories(const char *path)
{
  char part[PATH_MAX];
  if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) {
    errno = ENAMETOOLONG;
    return -1;
  }
  for (char *p = part + 1;; p++) {
    if (*p != '/' && *p != '\0') continue;
    char kept = *p;
    *p = '\0';
    if (mkdir(part, 0700) != 0 && errno != EEXIST) return -1;
    if (kept == '\0') break;
    *p = kept;
  }
  struct stat st;
  if (stat(path, &st) != 0) return -1;
  if (S_ISDIR(st.st_mode)) return 0;
  errno = ENOTDIR;
  return -1;
}

/* `out` is a directory, made here, unless it looks like a file's name (ends in .p11t) or has a placeholder. */
static int prepare_out(const char *value, char out[PATH_MAX])
{
  char path[PATH_MAX];
  char cwd[PATH_MAX];
  if (value[0] == '/') {
    if (snprintf(path, sizeof path, "%s", value) >= (int)sizeof path) path[0] = '\0';
  } else if (getcwd(cwd, sizeof cwd) == NULL || snprintf(path, sizeof path, "%s/%s", cwd, value) >= (int)sizeof path) {
    path[0] = '\0';
  }
  size_t length = strlen(path);
  if (length == 0) return wrap_fail("not a place for traces", value, "the path is too long");
  int is_file = (length > 5 && strcmp(path + length - 5, ".p11t") == 0) || strchr(path, '%') != NULL;
  if (is_file) {
    memcpy(out, path, length + 1);
    return 0;
  }
  if (make_directories(path) != 0) {
    return wrap_fail("cannot make the folder for traces", path, "%s; choose another with --out", strerror(errno));
  }
  if (realpath(path, out) == NULL) return wrap_fail("not a place for traces", path, "%s", strerror(errno));
  return 0;
}

static int write_conf(const struct wrap_request *request, const struct wrap_copy *copy)
{
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (f == NULL) return wrap_fail("cannot write", copy->conf, "%s", strerror(errno));
  fprintf(f, "# Read by the library beside this file; written by `p11trace wrap`.\n");
  fprintf(f, "recorder = %s\n", copy->recorder);
  fprintf(f, "module = %s\n", copy->module);
  for (size_t i = 0; i < request->n_settings; i++) {
    const struct wrap_setting *s = &request->settings[i];
    fprintf(f, "%s = %s\n", s->name, strcmp(s->name, "out") == 0 ? copy->out : s->value);
  }
  int bad = ferror(f);
  if (fclose(f) != 0 || bad) {
    free(text);
    return wrap_fail("cannot write", copy->conf, "%s", strerror(ENOMEM));
  }
  int result = wrap_replace_file(copy->conf, text, size, 0644, NULL);
  if (result != 0) wrap_fail("cannot write", copy->conf, "%s; choose another place with -o", strerror(errno));
  free(text);
  return result;
}

/* A path goes into a file of lines. */
static int check_lines(const struct wrap_copy *copy)
{
  const char *const paths[] = {copy->module, copy->recorder, copy->library, copy->out};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    if (strpbrk(paths[i], "\r\n") != NULL) {
      return wrap_fail("not a usable path", paths[i], "it has a line break in it");
    }
  }
  return 0;
}

int wrap_write(const struct wrap_request *request, struct wrap_copy *copy)
{
  memset(copy, 0, sizeof *copy);
  if (wrap_find_recorder(request->recorder, copy->recorder) != 0) return -1;
  struct stat module, recorder;
  if (stat(request->module, &module) == 0 && stat(copy->recorder, &recorder) == 0 && module.st_dev == recorder.st_dev &&
      module.st_ino == recorder.st_ino) {
    return wrap_fail("this is the recorder", request->module, "give the vendor's library");
  }
  if (check_module(request->module, copy) != 0 || name_output(request, copy) != 0) return -1;
  for (size_t i = 0; i < request->n_settings; i++) {
    const struct wrap_setting *s = &request->settings[i];
    if (strcmp(s->name, "out") == 0 && prepare_out(s->value, copy->out) != 0) return -1;
  }
  if (check_lines(copy) != 0) return -1;
  /* The .conf first: a library without it could not say which module it stands for. */
  if (write_conf(request, copy) != 0) return -1;
  size_t size = (size_t)(p11trace_stub_end - p11trace_stub_begin);
  if (wrap_replace_file(copy->library, p11trace_stub_begin, size, 0755, NULL) != 0) {
    return wrap_fail("cannot write", copy->library, "%s; choose another place with -o", strerror(errno));
  }
  return 0;
}

/* One word of a shell command. */
static void print_quoted(const char *word)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:=,@%";
  if (*word != '\0' && word[strspn(word, plain)] == '\0') {
    fputs(word, stdout);
    return;
  }
  putchar('\'');
  for (; *word != '\0'; word++) {
    if (*word == '\'') {
      fputs("'\\''", stdout);
    } else {
      putchar(*word);
    }
  }
  putchar('\'');
}

void wrap_print(const struct wrap_copy *copy, int quiet)
{
  if (quiet) {
    puts(copy->library);
    return;
  }
  char name[NAME_MAX + 16];
  const char *base = base_name(copy->module);
  snprintf(name, sizeof name, "%.*s (traced)", (int)strcspn(base, "."), base);
  printf("module    %s\n", copy->module);
  printf("traced    %s\n", copy->library);
  printf("settings  %s\n", copy->conf);
  printf("traces    %s\n", copy->out[0] != '\0' ? copy->out : "$XDG_STATE_HOME/p11trace (~/.local/state/p11trace)");
  printf("\nNSS database (certutil, Thunderbird, Chromium):\n  modutil -dbdir sql:DIR -add ");
  print_quoted(name);
  fputs(" -libfile ", stdout);
  print_quoted(copy->library);
  printf(
      "\nor, where the module is in the database already, in its place:\n"
      "  p11trace wrap --nssdb sql:DIR --replace NAME\n");
  json_t *policy = json_pack("{s:{s:{s:{s:s}}}}", "policies", "SecurityDevices", "Add", name, copy->library);
  char *text = policy != NULL ? json_dumps(policy, JSON_INDENT(2)) : NULL;
  if (text != NULL) printf("\nFirefox, distribution/policies.json or /etc/firefox/policies/policies.json:\n%s\n", text);
  free(text);
  json_decref(policy);
}

/* The links that are libraries: recorder and module. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/doctor/doctor.h"
#include "shim/spec/pkcs11.h"
#include "shim/trace/version.h"

/* As the recorder exports it (shim/load/gate.h); the gate itself is not looked into. */
typedef const void *(*attach_function)(unsigned abi, const char *library);

struct recorder_answer {
  bool loaded, is_recorder, fits;
  char error[512], version[64];
};

static void look_at_recorder(const void *argument, void *result)
{
  struct recorder_answer *a = result;
  void *handle = dlopen(argument, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    const char *why = dlerror();
    snprintf(a->error, sizeof a->error, "%s", why != NULL ? why : "unknown reason");
    return;
  }
  a->loaded = true;
  const char *version = dlsym(handle, "p11trace_version");
  snprintf(a->version, sizeof a->version, "%s", version != NULL ? version : "unknown");
  attach_function attach = (attach_function)dlsym(handle, "p11trace_attach");
  a->is_recorder = attach != NULL;
  /* A library that has no .conf: the version is checked and nothing is loaded. */
  a->fits = attach != NULL && attach(P11T_STUB_ABI, "/nonexistent/p11trace-doctor.so") != NULL;
}

/* What dlopen says without the name that it begins with. */
static const char *without_name(const char *error, const char *name)
{
  size_t n = strlen(name);
  return strncmp(error, name, n) == 0 && strncmp(error + n, ": ", 2) == 0 ? error + n + 2 : error;
}

/* The recorder of this p11trace: in the build folder beside it, installed in ../lib. */
static const char *own_recorder(void)
{
  static const char *const places[] = {"libp11trace.so", "../lib/libp11trace.so", "../lib/p11trace/libp11trace.so",
                                       "../lib64/libp11trace.so"};
  static char path[PATH_MAX];
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n > 0) {
    self[n] = '\0';
    int folder = (int)(strrchr(self, '/') + 1 - self);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
      if (snprintf(path, sizeof path, "%.*s%s", folder, self, places[i]) < (int)sizeof path &&
          access(path, F_OK) == 0) {
        return path;
      }
    }
  }
  return "libp11trace.so";
}

void doctor_look_at_recorder(struct doctor *d)
{
  const char *path = d->has_conf ? p11t_conf_get(&d->conf, "recorder") : own_recorder();
  struct recorder_answer a = {0};
  if (path == NULL) path = "libp11trace.so"; /* as the stub does */
  int died = doctor_in_child(look_at_recorder, path, &a, sizeof a);
  if (died != 0) {
    doctor_bad("recorder", path, "crashes or hangs when it is loaded: install p11trace again");
  } else if (!a.loaded) {
    doctor_bad("recorder", path, "cannot be loaded: %s: put it there, or run `p11trace wrap` again",
               without_name(a.error, path));
  } else if (!a.is_recorder) {
    doctor_bad("recorder", path,
               "is not the recorder (it has no p11trace_attach): set `recorder` in %s to libp11trace.so", d->conf.path);
  } else if (!a.fits) {
    doctor_bad("recorder", path,
               "version %s does not fit the traced library, it is older or newer: run `p11trace wrap` again",
               a.version);
  } else {
    doctor_good("recorder", path, "version %s", a.version);
  }
}

struct module_answer {
  bool loaded, is_traced, has_list, has_interfaces;
  unsigned long rv;
  unsigned major, minor;
  char error[512];
};

static void look_at_module(const void *argument, void *result)
{
  struct module_answer *a = result;
  /* As NSS loads it, so that an unresolved symbol is found here and not in the browser. */
  void *handle = dlopen(argument, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    const char *why = dlerror();
    snprintf(a->error, sizeof a->error, "%s", why != NULL ? why : "unknown reason");
    return;
  }
  a->loaded = true;
  a->is_traced = dlsym(handle, "p11trace_stub") != NULL || dlsym(handle, "p11trace_attach") != NULL;
  if (a->is_traced) return;
  a->has_interfaces = dlsym(handle, "C_GetInterface") != NULL;
  CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(handle, "C_GetFunctionList");
  a->has_list = get != NULL;
  CK_FUNCTION_LIST_PTR list = NULL;
  if (get != NULL) a->rv = get(&list);
  if (list != NULL) {
    a->major = list->version.major;
    a->minor = list->version.minor;
  }
}

static void judge_module(const struct doctor *d, const char *path, const struct module_answer *a)
{
  if (!a->loaded) {
    doctor_bad("module", path, "cannot be loaded: %s: set `module` in %s to the vendor's library",
               without_name(a->error, path), d->conf.path);
  } else if (a->is_traced) {
    doctor_bad("module", path, "is a traced copy itself: set `module` in %s to the vendor's library", d->conf.path);
  } else if (!a->has_list && !a->has_interfaces) {
    doctor_bad("module", path,
               "is not a PKCS #11 module, it has no C_GetFunctionList: set `module` in %s to the vendor's library",
               d->conf.path);
  } else if (a->has_list && a->rv != CKR_OK) {
    doctor_bad("module", path, "its C_GetFunctionList answers 0x%lx: ask the vendor; without p11trace it fails too",
               a->rv);
  } else if (a->has_list && a->major == 0) {
    doctor_bad("module", path,
               "its C_GetFunctionList gives no function list: ask the vendor; without p11trace it fails too");
  } else {
    doctor_good("module", path, "PKCS #11 %u.%u%s", a->major, a->minor,
                a->has_interfaces ? ", with C_GetInterface" : "");
  }
}

void doctor_look_at_module(struct doctor *d)
{
  const char *path = d->has_conf ? p11t_conf_get(&d->conf, "module") : NULL;
  if (d->library == NULL) path = getenv("P11TRACE_MODULE");
  struct module_answer a = {0};
  if (path == NULL || path[0] == '\0') {
    if (d->has_conf) doctor_bad("module", d->conf.path, "has no `module`: run `p11trace wrap` again");
    return;
  }
  int died = doctor_in_child(look_at_module, path, &a, sizeof a);
  if (died > 0) {
    doctor_bad("module", path, "dies of %s when it is loaded: without p11trace it does too", strsignal(died));
  } else if (died < 0) {
    doctor_bad("module", path, "does not come back from being loaded: without p11trace it does not either");
  } else {
    judge_module(d, path, &a);
  }
}

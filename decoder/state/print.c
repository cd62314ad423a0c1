#include <inttypes.h>
#include <string.h>

#include "decoder/check/json.h"
#include "decoder/model/idiom.h"
#include "decoder/rules/rules.h"
#include "decoder/state/state.h"

static const char *user_name(uint64_t user)
{
  const char *name = p11_constant_name(P11_DOM_CKU, user);
  return name ? name : "an unknown user";
}

static const char *class_name(unsigned class)
{
  switch (class) {
    case LOGIN_PUBLIC: return "logged out";
    case LOGIN_USER: return "user";
    case LOGIN_SO: return "security officer";
    case LOGIN_PUBLIC | LOGIN_USER: return "logged out or user";
    default: return "anything";
  }
}

static const char *state_name(const struct line *n)
{
  const char *name = p11_constant_name(P11_DOM_CKS_SESSION, n->state);
  return name ? name : "a state that does not exist";
}

/* What happened, without time and caller. */
static void words(const struct line *n, char *text, size_t size)
{
  char code[24];
  size_t used = 0;
  const char *function = n->function >= 0 ? p11_functions[n->function].name : "?";
  text[0] = 0;
  switch (n->kind) {
    case LINE_SESSIONS:
      if (n->opened)
        note_append(text, size, &used, "%" PRIu64 " session%s opened", n->opened, n->opened == 1 ? "" : "s");
      if (n->closed)
        note_append(text, size, &used, "%s%" PRIu64 "%s closed", n->opened ? ", " : "", n->closed,
                    n->opened        ? ""
                    : n->closed == 1 ? " session"
                                     : " sessions");
      break;
    case LINE_STATE:
      note_append(text, size, &used, "the module says %s (0x%" PRIx64 ")", state_name(n), n->session);
      if (n->count > 1) note_append(text, size, &used, ", %" PRIu64 " times", n->count);
      break;
    case LINE_LOGIN:
      if (n->prompt) note_append(text, size, &used, "PROMPT %u: ", n->prompt);
      note_append(text, size, &used, "%s(%s) = %s", function, user_name(n->user), note_rv(n->rv, code));
      break;
    case LINE_GONE: note_append(text, size, &used, "the token is gone (%s)", function); break;
    case LINE_BACK: note_append(text, size, &used, "a token is there again (%s)", function); break;
    case LINE_CLOSE:
      note_append(text, size, &used, "%s = %s", function, note_rv(n->rv, code));
      if (n->function == P11_F_C_CloseSession) note_append(text, size, &used, " of the last session");
      break;
    case LINE_DEAD:
      note_append(text, size, &used, "%s(0x%" PRIx64 ") = %s", function, n->session, note_rv(n->rv, code));
      if (n->count > 1) note_append(text, size, &used, ", %" PRIu64 " such answers", n->count);
      break;
    default: note_append(text, size, &used, "%s = %s", function, note_rv(n->rv, code));
  }
}

static void print_line(FILE *to, const struct line *n)
{
  char text[300], thread[60], caller[200];
  words(n, text, sizeof text);
  fprintf(to, "%c #%-8" PRIu64 " +%" PRIu64 ".%06" PRIu64, n->parts ? '!' : ' ', n->number, n->first / 1000000000,
          n->first / 1000 % 1000000);
  fprintf(to, "  %s", text);
  if (n->last - n->first >= 1000)
    fprintf(to, " until +%" PRIu64 ".%06" PRIu64, n->last / 1000000000, n->last / 1000 % 1000000);
  if (n->parts) fprintf(to, "  <- the calls before it leave only: %s", class_name(n->possible));
  fputc('\n', to);
  if (n->kind != LINE_LOGIN && n->kind != LINE_LOGOUT && n->kind != LINE_PIN && !n->parts) return;
  const char *idiom = idiom_text(n->idiom);
  fprintf(to, "               [%" PRIu32 "%s%s]%s%s%s%s\n", n->tid, *n->thread ? " " : "",
          show_bytes((const uint8_t *)n->thread, strlen(n->thread), thread, sizeof thread), *n->caller ? " from " : "",
          show_bytes((const uint8_t *)n->caller, strlen(n->caller), caller, sizeof caller), idiom ? ": " : "",
          idiom ? idiom : "");
}

static void print_life(FILE *to, const struct life *l)
{
  char text[600];
  const char *program = l->process->program && *l->process->program ? l->process->program : "process";
  fprintf(to, "%s[%" PRIu32 "] ", show_bytes((const uint8_t *)program, strlen(program), text, sizeof text),
          l->process->pid);
  fprintf(to, "%s\n",
          *l->module ? show_bytes((const uint8_t *)l->module, strlen(l->module), text, sizeof text) : "module unknown");
  fprintf(to, "slot %" PRIu64, l->slot);
  if (*l->token) fprintf(to, " \"%s\"", show_bytes((const uint8_t *)l->token, strlen(l->token), text, sizeof text));
  if (*l->serial)
    fprintf(to, " serial %s", show_bytes((const uint8_t *)l->serial, strlen(l->serial), text, sizeof text));
  fprintf(to, ": %u prompt%s", l->prompts, l->prompts == 1 ? "" : "s");
  if (l->parts)
    fprintf(to, "; %u answer%s that no order of the calls explains (!)", l->parts, l->parts == 1 ? "" : "s");
  fputc('\n', to);
  for (size_t i = 0; i < l->lines; i++) print_line(to, &l->line[i]);
  fputc('\n', to);
}

void states_print(FILE *to, const struct states *states)
{
  for (size_t i = 0; i < states->count; i++)
    if (states->life[i]->lines) print_life(to, states->life[i]);
}

/* --- JSON --------------------------------------------------------------------------------------- */

static const char *kind_name(enum line_kind kind)
{
  static const char *const name[] = {"sessions", "state", "login", "logout", "pin", "gone", "back", "close", "dead"};
  return name[kind];
}

static json_t *line_json(const struct line *n)
{
  char text[300], code[24];
  words(n, text, sizeof text);
  json_t *j =
      json_pack("{s:s, s:I, s:f, s:f, s:I, s:s, s:s, s:s, s:I, s:o}", "kind", kind_name(n->kind), "call",
                (json_int_t)n->number, "first", (double)n->first / 1e9, "last", (double)n->last / 1e9, "count",
                (json_int_t)n->count, "function", n->function >= 0 ? p11_functions[n->function].name : "", "rv",
                note_rv(n->rv, code), "text", text, "tid", (json_int_t)n->tid, "thread", check_json_text(n->thread));
  if (n->session) json_object_set_new(j, "session", json_integer((json_int_t)n->session));
  if (n->kind == LINE_STATE) json_object_set_new(j, "state", json_string(state_name(n)));
  if (n->kind == LINE_STATE) json_object_set_new(j, "explained", json_boolean(!n->parts));
  if (n->prompt) json_object_set_new(j, "prompt", json_integer(n->prompt));
  if (*n->caller) json_object_set_new(j, "caller", check_json_text(n->caller));
  if (idiom_text(n->idiom)) json_object_set_new(j, "idiom", json_string(idiom_text(n->idiom)));
  return j;
}

bool states_json(FILE *to, const struct states *states)
{
  json_t *all = json_array();
  for (size_t i = 0; i < states->count; i++) {
    const struct life *l = states->life[i];
    json_t *lines = json_array();
    for (size_t k = 0; k < l->lines; k++) json_array_append_new(lines, line_json(&l->line[k]));
    json_array_append_new(
        all, json_pack("{s:o, s:I, s:o, s:I, s:o, s:o, s:i, s:i, s:o}", "program",
                       check_json_text(l->process->program ? l->process->program : ""), "pid",
                       (json_int_t)l->process->pid, "module", check_json_text(l->module), "slot", (json_int_t)l->slot,
                       "token", check_json_text(l->token), "serial", check_json_text(l->serial), "prompts",
                       (int)l->prompts, "unexplained", (int)l->parts, "lines", lines));
  }
  return check_json_write(to, all);
}

#include "decoder/follow/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "decoder/follow/logins.h"
#include "decoder/read/arena.h"

enum { EVERY = 200 }; /* ms between two times that the line is written */

struct status {
  struct logins *logins;
  uint64_t calls, errors, last;
  bool terminal, shown;
};

struct status *status_new(bool quiet, bool asked)
{
  const bool terminal = isatty(STDERR_FILENO);
  if (!asked && (quiet || !terminal)) return NULL;
  struct status *s = read_zalloc(sizeof *s);
  s->logins = logins_new();
  s->terminal = terminal;
  return s;
}

bool status_event(struct status *s, const struct event *event)
{
  if (!s) return false;
  if (event->type == EVENT_CALL) {
    s->calls++;
    if (event->call->state == CALL_DONE && event->call->rv != CKR_OK) s->errors++;
  }
  return logins_event(s->logins, event) && !s->terminal;
}

static struct text opened(void)
{
  struct text text;
  text_open(&text, STDERR_FILENO);
  return text;
}

static void written(struct text *text)
{
  text_flush(text);
  text_close(text);
}

void status_line(struct status *s)
{
  struct text text = opened();
  text_s(&text, "login: ");
  logins_text(s->logins, &text);
  text_c(&text, '\n');
  written(&text);
}

void status_hide(struct status *s)
{
  if (!s || !s->shown) return;
  dprintf(STDERR_FILENO, "\r\033[K");
  s->shown = false;
}

/* A line that is wider than the screen would wrap, and could not be written again. */
static void cut(struct text *text)
{
  struct winsize screen;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &screen) != 0 || screen.ws_col < 2) return;
  unsigned column = 0;
  for (char *p = text->base; p < text->at;) {
    uint32_t c;
    size_t n = text_character((const uint8_t *)p, (size_t)(text->at - p), &c);
    column += c < 0x1100 ? 1 : 2; /* letters from there on may be wide */
    if (column >= screen.ws_col) {
      text->at = p;
      return;
    }
    p += n ? n : 1;
  }
}

static void put(struct status *s, size_t running)
{
  char count[120];
  struct text line;
  text_open(&line, -1);
  const char *const end = s->calls == 1 ? "" : "s";
  snprintf(count, sizeof count, "%" PRIu64 " call%s, %" PRIu64 " failed, %zu process%s recording", s->calls, end,
           s->errors, running, running == 1 ? "" : "es");
  text_s(&line, count);
  struct text text;
  text_open(&text, -1);
  logins_text(s->logins, &text);
  if (text.at > text.base) text_s(&line, " | ");
  text_raw(&line, text.base, (size_t)(text.at - text.base));
  text_close(&text);
  cut(&line);
  struct text out = opened();
  text_s(&out, "\r\033[K");
  text_raw(&out, line.base, (size_t)(line.at - line.base));
  text_close(&line);
  written(&out);
  s->shown = true;
}

void status_show(struct status *s, uint64_t now, size_t running)
{
  if (!s || !s->terminal || now - s->last < EVERY) return;
  s->last = now;
  put(s, running);
}

void status_end(struct status *s, size_t running)
{
  if (!s) return;
  if (s->shown) {
    put(s, running);
    fputc('\n', stderr);
    fflush(stderr);
  }
  logins_free(s->logins);
  free(s);
}

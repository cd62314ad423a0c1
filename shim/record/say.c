#include "shim/record/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shim/record/sys.h"

void p11t_say(const char *format, ...)
{
  int saved = errno;
  char line[1024] = "p11trace: ";
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line + 10, sizeof line - 12, format, args);
  va_end(args);
  if (n < 0) n = 0;
  if (n > (int)sizeof line - 13) n = (int)sizeof line - 13;
  line[10 + n] = '\n';
  sys_write(2, line, (size_t)n + 11);
  errno = saved;
}

const char *p11t_errno_text(int error)
{
  const char *text = strerrordesc_np(error);
  return text ? text : "unknown error";
}

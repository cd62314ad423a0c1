#include "decoder/doctor/doctor.h"

#include <stdio.h>
#include <string.h>

#include "decoder/cmd/cmd.h"

int doctor_examine(const char *library, bool quiet)
{
  static struct doctor d; /* 30 KB */
  memset(&d, 0, sizeof d);
  d.library = library;
  doctor_look_at_settings(&d);
  /* Without settings the stub does nothing, and what a default would be is no answer. */
  if (library == NULL || d.has_conf) {
    doctor_look_at_recorder(&d);
    doctor_look_at_module(&d);
    doctor_look_at_output(&d);
    doctor_look_at_traces(&d);
  }
  return doctor_print(quiet) > 0 ? EXIT_FOUND : EXIT_FINE;
}

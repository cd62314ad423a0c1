/* The version of the project: printed by p11trace --version, written into traces, checked between stub and recorder. */
#ifndef TRACE_VERSION_H
#define TRACE_VERSION_H

#define P11T_VERSION "0.1.0"
/* Raised when stub and recorder of different builds no longer understand each other. */
#define P11T_STUB_ABI 1

#endif

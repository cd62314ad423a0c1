/* The version of the token, as C_GetInfo, C_GetSlotInfo and C_GetTokenInfo tell it. */
#ifndef TOK_VERSION_H
#define TOK_VERSION_H

#define TOK_VERSION_MAJOR 0
#define TOK_VERSION_MINOR 1
#define TOK_MANUFACTURER "p11trace project"
#define TOK_MODEL "p11token"

#endif

/* Walking over the parenthesised entries of the tables in this folder.
 *
 * P11_EACH(M, ctx, (a, b), (c, d))   expands to   M(ctx, a, b) M(ctx, c, d)
 * P11_LIST(M, ctx, (a, b), (c, d))   expands to   M(ctx, a, b), M(ctx, c, d)
 * P11_COUNT((a, b), (c, d))          expands to   2
 *
 * At most 20 entries: the widest function of the standard has 10 parameters, the widest structure 18 members. */
#ifndef P11_EACH_H
#define P11_EACH_H

#define P11_NTH(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, n, ...) n
#define P11_COUNT(...) P11_NTH(__VA_ARGS__, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

#define P11_CAT(a, b) P11_CAT_(a, b)
#define P11_CAT_(a, b) a##b

#define P11_OPEN(...) __VA_ARGS__
#define P11_APPLY(M, ...) M(__VA_ARGS__)
#define P11_ONE(M, ctx, entry) P11_APPLY(M, ctx, P11_OPEN entry)

#define P11_EACH(M, ctx, ...) P11_CAT(P11_EACH_, P11_COUNT(__VA_ARGS__))(M, ctx, __VA_ARGS__)
#define P11_LIST(M, ctx, ...) P11_CAT(P11_LIST_, P11_COUNT(__VA_ARGS__))(M, ctx, __VA_ARGS__)

#define P11_EACH_1(M, c, e) P11_ONE(M, c, e)
#define P11_EACH_2(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_1(M, c, __VA_ARGS__)
#define P11_EACH_3(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_2(M, c, __VA_ARGS__)
#define P11_EACH_4(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_3(M, c, __VA_ARGS__)
#define P11_EACH_5(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_4(M, c, __VA_ARGS__)
#define P11_EACH_6(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_5(M, c, __VA_ARGS__)
#define P11_EACH_7(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_6(M, c, __VA_ARGS__)
#define P11_EACH_8(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_7(M, c, __VA_ARGS__)
#define P11_EACH_9(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_8(M, c, __VA_ARGS__)
#define P11_EACH_10(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_9(M, c, __VA_ARGS__)
#define P11_EACH_11(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_10(M, c, __VA_ARGS__)
#define P11_EACH_12(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_11(M, c, __VA_ARGS__)
#define P11_EACH_13(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_12(M, c, __VA_ARGS__)
#define P11_EACH_14(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_13(M, c, __VA_ARGS__)
#define P11_EACH_15(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_14(M, c, __VA_ARGS__)
#define P11_EACH_16(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_15(M, c, __VA_ARGS__)
#define P11_EACH_17(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_16(M, c, __VA_ARGS__)
#define P11_EACH_18(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_17(M, c, __VA_ARGS__)
#define P11_EACH_19(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_18(M, c, __VA_ARGS__)
#define P11_EACH_20(M, c, e, ...) P11_ONE(M, c, e) P11_EACH_19(M, c, __VA_ARGS__)

#define P11_LIST_1(M, c, e) P11_ONE(M, c, e)
#define P11_LIST_2(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_1(M, c, __VA_ARGS__)
#define P11_LIST_3(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_2(M, c, __VA_ARGS__)
#define P11_LIST_4(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_3(M, c, __VA_ARGS__)
#define P11_LIST_5(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_4(M, c, __VA_ARGS__)
#define P11_LIST_6(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_5(M, c, __VA_ARGS__)
#define P11_LIST_7(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_6(M, c, __VA_ARGS__)
#define P11_LIST_8(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_7(M, c, __VA_ARGS__)
#define P11_LIST_9(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_8(M, c, __VA_ARGS__)
#define P11_LIST_10(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_9(M, c, __VA_ARGS__)
#define P11_LIST_11(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_10(M, c, __VA_ARGS__)
#define P11_LIST_12(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_11(M, c, __VA_ARGS__)
#define P11_LIST_13(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_12(M, c, __VA_ARGS__)
#define P11_LIST_14(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_13(M, c, __VA_ARGS__)
#define P11_LIST_15(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_14(M, c, __VA_ARGS__)
#define P11_LIST_16(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_15(M, c, __VA_ARGS__)
#define P11_LIST_17(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_16(M, c, __VA_ARGS__)
#define P11_LIST_18(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_17(M, c, __VA_ARGS__)
#define P11_LIST_19(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_18(M, c, __VA_ARGS__)
#define P11_LIST_20(M, c, e, ...) P11_ONE(M, c, e), P11_LIST_19(M, c, __VA_ARGS__)

#endif

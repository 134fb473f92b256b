// Node-API as the addon for Windows finds it: in the program that loaded it, whatever its name is
// (node.exe, electron.exe), so that no import library binds the addon to one name.
// Node's headers declare its functions as imported, which the compiler calls through pointers
// named __imp_NAME. An import library would define these; here they are variables.
#include <windows.h>

#include "node_api_calls.h"  // NODE_API_CALLS(CALL): CALL(NAME) for each function of Node-API

#define POINTER(name) FARPROC __imp_##name;
NODE_API_CALLS(POINTER)

__attribute__((constructor)) static void find_node_api(void) {
  HMODULE host = GetModuleHandleW(NULL);
#define FIND(name) __imp_##name = GetProcAddress(host, #name);
  NODE_API_CALLS(FIND)
}

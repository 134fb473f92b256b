# The addon for the CPU, as `npm run build:native` and `tramontane build` compile it: a C++ compiler,
# make and python3 suffice. It lies here, not in the package's root, since there package managers
# would compile it at every install. The sources are those of sources.txt, which CMakeLists.txt reads
# too, from the root.
{
  "targets": [
    {
      "target_name": "tramontane",
      "sources": [
        "<!@(node -p \"require('fs').readFileSync('sources.txt', 'utf8').replace(/^cpp./gm, '')\")"
      ],
      "actions": [
        {
          "action_name": "seam_hash",
          "inputs": [
            "backend/write_seam_hash.js",
            "<!@(node -p \"['backend', 'quant'].flatMap((folder) => require('fs').readdirSync(folder).filter((name) => name.endsWith('.h')).map((name) => folder + '/' + name)).join(' ')\")"
          ],
          "outputs": ["<(INTERMEDIATE_DIR)/seam_hash.h"],
          "action": ["node", "backend/write_seam_hash.js", "<@(_outputs)"]
        }
      ],
      "include_dirs": [".", "<(INTERMEDIATE_DIR)", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "NAPI_VERSION=8"],
      # Node's own flags ask for an older C++ without exceptions. -ffp-contract=off: a sum has the
      # same bits whichever function the compiler inlined it into; kernels name their FMAs.
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++20", "-O3", "-ffp-contract=off", "-fvisibility=hidden",
        "-fvisibility-inlines-hidden", "-Wall", "-Wextra"
      ],
      "xcode_settings": {
        "MACOSX_DEPLOYMENT_TARGET": "11.0",
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "CLANG_CXX_LIBRARY": "libc++",
        "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
        "GCC_ENABLE_CPP_RTTI": "YES",
        "GCC_OPTIMIZATION_LEVEL": "3",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off"]
      },
      "msvs_settings": {
        "VCCLCompilerTool": {
          "ExceptionHandling": 1,
          "RuntimeTypeInfo": "true",
          "AdditionalOptions": ["/std:c++20", "/utf-8", "/fp:precise"]
        }
      },
      "conditions": [
        ["OS=='win'", {"defines": ["NOMINMAX", "WIN32_LEAN_AND_MEAN", "_CRT_SECURE_NO_WARNINGS"]}]
      ]
    },
    {
      # To where it is looked for.
      "target_name": "place",
      "type": "none",
      "dependencies": ["tramontane"],
      "copies": [
        {"destination": "../build/Release", "files": ["<(PRODUCT_DIR)/tramontane.node"]}
      ]
    }
  ]
}

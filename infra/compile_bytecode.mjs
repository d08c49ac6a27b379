// Compiles the Python files of folders to bytecode of the runtime's version, with the CPython of the package pyodide,
// which npm installs on any machine: node compile_bytecode.mjs FOLDER PREFIX
// PREFIX is where the folder will be at run time, for tracebacks.
import { loadPyodide } from "pyodide";

const [folder, prefix] = process.argv.slice(2);
const python = await loadPyodide();
python.FS.mkdir("/folder");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/folder");
python.globals.set("prefix", prefix);
const version = await python.runPythonAsync(`
import compileall, py_compile, sys
compiled = compileall.compile_dir(
    "/folder",
    quiet=1,
    stripdir="/folder",
    prependdir=prefix,
    # CDK gives every file of the zip the same time, so bytecode is never compared with its source.
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
"%d.%d" % sys.version_info[:2] if compiled else ""
`);
console.log(version);

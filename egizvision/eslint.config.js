// Besides the usual: rooms look only downward. net → twin → scene | panels → pages.
import tseslint from "typescript-eslint";

const mayNotUse = (room, above) => ({
  files: [`src/${room}/**/*.ts`],
  rules: {
    "no-restricted-imports": [
      "error",
      { patterns: above.map((name) => ({ group: [name.includes("/") ? `../${name}` : name], message: `${room} does not know ${name}` })) },
    ],
  },
});

export default tseslint.config(
  { ignores: ["dist", "node_modules", "test-results", "tests"] },
  ...tseslint.configs.recommended,
  { rules: { "@typescript-eslint/no-explicit-any": "error" } },
  mayNotUse("net", ["twin/*", "scene/*", "panels/*", "pages/*", "three", "uplot"]),
  mayNotUse("twin", ["scene/*", "panels/*", "pages/*", "three", "uplot"]),
  mayNotUse("scene", ["panels/*", "pages/*", "uplot"]),
  mayNotUse("panels", ["scene/*", "pages/*", "three"]),
);

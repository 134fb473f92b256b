/** @type {import('next').NextConfig} */
export default {
  // A native addon cannot be part of a bundle: the package stays in node_modules.
  serverExternalPackages: ['tramontane'],
};

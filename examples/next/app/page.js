export default function Page() {
  return <a href="/api/generate?prompt=Once">Once</a>;
}
